"""Takes every published figure of the farm, and those of the peer that it is compared with, in one run on one machine."""
