//! Turns the `.proto` files into Rust with protox, so that no `protoc` is needed.

use std::error::Error;

const FILES: [&str; 5] = [
    "x2go/broker/v1/agent.proto",
    "x2go/broker/v1/authservice.proto",
    "x2go/broker/v1/gossip.proto",
    "x2go/broker/v1/local.proto",
    "x2go/broker/v1/replica.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::SmallBuffers")
        // Holds a password.
        .skip_debug([".x2go.broker.v1.PamQuestion"])
        // Hold a password, AUTHIDs and the cookies of sessions.
        .skip_debug([
            ".x2go.broker.v1.LocalRequest",
            ".x2go.broker.v1.LocalAnswer",
        ])
        .bytes(".x2go.broker.v1.Frame.payload")
        .compile_fds(descriptors)?;
    Ok(())
}
