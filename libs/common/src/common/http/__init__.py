"""HTTP as every service speaks it: app, server, internal client, problems, paging, identity."""
