//! Pictures as PNG files.

use ::png::{BitDepth, ColorType, Compression, Decoder, Encoder, Filter};
use std::io::Cursor;

use crate::picture::Dots;

/// The file of a picture. The same dots give the same file, as long as the encoder's version is the same.
pub fn encode(dots: &Dots) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, dots.width, dots.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    encoder.set_filter(Filter::Adaptive);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&dots.rgb)?;
        writer.finish()
    });
    written.expect("memory takes what is written, and there are as many dots as the sizes say");
    file
}

/// The picture in a whole file of the form that `encode` makes; nothing for any other.
pub fn decode(file: &[u8]) -> Option<Dots> {
    let mut reader = Decoder::new(Cursor::new(file)).read_info().ok()?;
    let mut rgb = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut rgb).ok()?;
    reader.finish().ok()?;
    let plain = (frame.color_type, frame.bit_depth) == (ColorType::Rgb, BitDepth::Eight);
    plain.then_some(Dots { width: frame.width, height: frame.height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_decodes_to_the_same_dots() {
        let dots = Dots { width: 200, height: 150, rgb: (0..90_000_u32).map(|i| (i * 7 % 251) as u8).collect() };
        assert_eq!(decode(&encode(&dots)), Some(dots));
    }

    #[test]
    fn a_picture_is_smaller_than_its_dots() {
        let dots = Dots { width: 64, height: 64, rgb: vec![9; 64 * 64 * 3] };
        assert!(encode(&dots).len() < dots.rgb.len() / 10);
    }

    #[test]
    fn a_damaged_or_cut_file_is_not_decoded() {
        let dots = Dots { width: 2, height: 2, rgb: vec![9; 12] };
        let file = encode(&dots);
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert_ne!(decode(&damaged), Some(dots.clone()), "byte {at}");
            assert_eq!(decode(&file[..at]), None, "cut at byte {at}");
        }
    }
}
