//! How large are the buffers of a gRPC stream? Small, since there are thousands of streams
//! and nearly all messages are short.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Protobuf in buffers that begin small and grow with the messages.
#[derive(Debug, Clone)]
pub(crate) struct SmallBuffers<E, D>(PhantomData<(E, D)>);

impl<E, D> Default for SmallBuffers<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E, D> Codec for SmallBuffers<E, D>
where
    E: Message + Send + 'static,
    D: Message + Default + Send + 'static,
{
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = ProstDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<E, D>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<E, D>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}

/// tonic's own 8 KB are 4 MB for the `Watch` streams of 500 servers. Each change, and the
/// answer to a log-in, is shorter than this.
const BUFFER_BYTES: usize = 512;
/// tonic's own: how much is encoded before it is sent.
const YIELD_BYTES: usize = 32 * 1024;
