//! Generates the API's types and service stubs from `proto/` at build time, so that they cannot drift from it, and without
//! a system `protoc`, so that a plain `cargo build` is enough.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.join("envfarm").display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_file("envfarm/v1/envfarm.proto")?;
    let files = compiler.file_descriptor_set();
    std::fs::write(out.join("envfarm.v1.bin"), compiler.encode_file_descriptor_set())?;

    // `bytes::Bytes` shares pictures with the message that carried them, where `Vec<u8>` would copy each.
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
