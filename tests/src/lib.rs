//! System tests: shared harness.
