//! Nothing: the measuring is in `benches/`.
