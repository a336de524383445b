//! Compiles the public contract in `proto/` without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "portcullis/v1/record.proto",
        "portcullis/v1/register.proto",
        "portcullis/v1/gossip.proto",
        "portcullis/v1/reconcile.proto",
        "portcullis/v1/exchange.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
