"""Looking into uploaded files: in a child process, because decoders of foreign data are not to be trusted."""
