"""What checking one report may cost. A limit reached means "no verdict", never "valid"."""

from typing import Final

MAX_PDF_BYTES: Final = 96 * 1024 * 1024  # a bundle of 64 MiB inside, and the rest
CPU_SECONDS: Final = 60  # an ordinary report takes two
MEMORY_BYTES: Final = 1536 * 1024 * 1024
OPEN_FILES: Final = 64
WALL_SECONDS: Final = 180
