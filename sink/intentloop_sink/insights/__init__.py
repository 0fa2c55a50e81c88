"""What pages show beyond plain statistics: precision, calibration, drift, rising phrases."""
