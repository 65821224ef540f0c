//! Segmentation judged by hand-made frames.
