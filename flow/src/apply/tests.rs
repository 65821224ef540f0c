//! Edits on literal frames, each seen in Open vSwitch 3.1, and random ones under full checksums.
