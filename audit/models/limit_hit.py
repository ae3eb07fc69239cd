from __future__ import annotations

from django.db import models


class LimitHit(models.TextChoices):
    """A limit that a run came up against. The names are the API's and the rows', and stay."""

    WALL_TIME = "wall_time", "time by the clock"
    CPU_TIME = "cpu_time", "CPU time"
    MEMORY = "memory", "memory"
    PROCESSES = "processes", "processes and threads"
    OUTPUT = "output", "output"
    FILE_SIZE = "file_size", "size of a file"
    WORKSPACE_BYTES = "workspace_bytes", "bytes in /mnt/data"
    WORKSPACE_INODES = "workspace_inodes", "files in /mnt/data"
    TMP_BYTES = "tmp_bytes", "bytes in /tmp"
    TMP_INODES = "tmp_inodes", "files in /tmp"
    SHM_BYTES = "shm_bytes", "bytes in /dev/shm"
    SHM_INODES = "shm_inodes", "files in /dev/shm"
    KEPT_FILES = "kept_files", "number of kept files"
    KEPT_FILE_SIZE = "kept_file_size", "size of a kept file"
    KEPT_BYTES = "kept_bytes", "size of all kept files"
    STORED_BYTES = "stored_bytes", "quota of stored files"
