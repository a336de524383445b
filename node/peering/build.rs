//! Generates the exchange's client and server; their messages are the protocol crate's.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../protocol/proto";
    println!("cargo::rerun-if-changed={proto}");
    let descriptors = protox::compile(["portcullis/v1/exchange.proto"], [proto])?;
    tonic_prost_build::configure()
        .extern_path(".portcullis.v1", "::portcullis_protocol::wire")
        .codec_path("crate::codec::LimitedCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
