//! PNG, as little of it as these pictures need: eight bits a colour, not compressed.

use crate::picture::Dots;

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// The most that a block of deflate that is only stored can hold.
const BLOCK: usize = 65_535;

/// The file of a picture.
pub fn encode(dots: &Dots) -> Vec<u8> {
    let mut lines = Vec::with_capacity(dots.rgb.len() + dots.height as usize);
    for line in dots.rgb.chunks(3 * dots.width as usize) {
        lines.push(0); // no filter
        lines.extend(line);
    }
    let mut header = Vec::new();
    header.extend(dots.width.to_be_bytes());
    header.extend(dots.height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]); // eight bits, red green blue, no interlacing
    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &store(&lines));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// The picture in a file that `encode` made; nothing for any other file.
pub fn decode(file: &[u8]) -> Option<Dots> {
    let mut rest = file.strip_prefix(&SIGNATURE)?;
    let (mut size, mut lines, mut ended) = (None, Vec::new(), false);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (name, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (check, after) = after.split_first_chunk::<4>()?;
        if u32::from_be_bytes(*check) != crc(name, data) {
            return None;
        }
        match name {
            b"IHDR" => size = Some(read_header(data)?),
            b"IDAT" => lines = unstore(data)?,
            b"IEND" => ended = true,
            _ => {}
        }
        rest = after;
    }
    let (width, height) = size.filter(|_| ended)?;
    let line = 3 * width as usize + 1;
    if width == 0 || lines.len() != line * height as usize || lines.chunks(line).any(|l| l[0] != 0) {
        return None;
    }
    Some(Dots { width, height, rgb: lines.chunks(line).flat_map(|l| &l[1..]).copied().collect() })
}

fn read_header(data: &[u8]) -> Option<(u32, u32)> {
    let (width, rest) = data.split_first_chunk::<4>()?;
    let (height, rest) = rest.split_first_chunk::<4>()?;
    (rest == [8, 2, 0, 0, 0]).then(|| (u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(name);
    file.extend(data);
    file.extend(crc(name, data).to_be_bytes());
}

/// RFC 1950 around RFC 1951's stored blocks.
fn store(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let last = data.len().div_ceil(BLOCK).max(1) - 1;
    for at in 0..=last {
        let block = &data[at * BLOCK..data.len().min((at + 1) * BLOCK)];
        let length = block.len() as u16;
        out.push(u8::from(at == last));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(adler(data).to_be_bytes());
    out
}

fn unstore(stream: &[u8]) -> Option<Vec<u8>> {
    let mut rest = stream.strip_prefix(&[0x78, 0x01])?;
    let mut data = Vec::new();
    loop {
        let (&last, after) = rest.split_first()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (inverse, after) = after.split_first_chunk::<2>()?;
        let length = u16::from_le_bytes(*length);
        if last > 1 || length != !u16::from_le_bytes(*inverse) {
            return None;
        }
        let (block, after) = after.split_at_checked(length.into())?;
        data.extend(block);
        rest = after;
        if last == 1 {
            break;
        }
    }
    (rest == adler(&data).to_be_bytes()).then_some(data)
}

fn crc(name: &[u8], data: &[u8]) -> u32 {
    let table = crc_table();
    let mut crc = u32::MAX;
    for &byte in name.iter().chain(data) {
        crc = table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    !crc
}

fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    for (byte, entry) in (0_u32..).zip(&mut table) {
        *entry = (0..8).fold(byte, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 });
    }
    table
}

fn adler(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_are_those_of_their_standards() {
        assert_eq!(crc(b"IEND", b""), 0xae42_6082);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn what_was_encoded_decodes_to_the_same_dots() {
        // More than one stored block.
        let dots = Dots { width: 200, height: 150, rgb: (0..90_000_u32).map(|i| (i * 7 % 251) as u8).collect() };
        let file = encode(&dots);
        assert_eq!(decode(&file), Some(dots));
    }

    #[test]
    fn a_damaged_or_cut_file_is_not_decoded() {
        let file = encode(&Dots { width: 2, height: 2, rgb: vec![9; 12] });
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&file[..at]), None, "cut at byte {at}");
        }
    }
}
