"""What is measured of a table's rows beside its mIoU: controls, cost, maps, regions, and what figures show."""
