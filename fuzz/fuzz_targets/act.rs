#![no_main]
#![allow(dead_code)]

#[path = "../src/node.rs"]
mod node;

libfuzzer_sys::fuzz_target!(|data: &[u8]| node::act(data));
