from humanize.filesize import parse_size
from humanize.number import percentage
from humanize.time import transfer_time

__all__ += ["parse_size", "percentage", "transfer_time"]
