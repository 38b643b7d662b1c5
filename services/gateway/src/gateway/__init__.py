"""HTTP edge of Cuepost: authentication, limits, uploads, commands out, queries through."""
