//! The specification on small pipelines, each outcome seen in Open vSwitch 3.1.
