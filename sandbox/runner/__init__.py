"""What runs as PID 1 in a sandbox container. Standard library only: the image holds nothing else
of this project. The server imports `protocol` and `names` from here, so that both ends agree."""
