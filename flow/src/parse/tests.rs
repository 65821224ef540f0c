//! Literal frames and their keys, each seen in Open vSwitch 3.1.
