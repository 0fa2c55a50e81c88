"""Pure stream processing: decode records, judge lateness, close batches. No clock, no I/O."""

from intentloop_stream.processing.batching import PartitionBatcher
from intentloop_stream.processing.decode import Decoder, LocalRecord, Rejection
from intentloop_stream.processing.watermark import Watermark

__all__ = ["Decoder", "LocalRecord", "PartitionBatcher", "Rejection", "Watermark"]
