//! Where the entries of a file lie, and the way back to them. Held is a place for every block of up to 64 pieces, and which
//! of these are entries; what lies between is cut anew, and only the entry that is asked for is read.
//!
//! ```text
//! pieces    e e . e e e e … e │ e . . e … e │ E │ e e …      e: an entry, E: a long one, .: none (blank, bad, a failed call)
//! held      ▪                 │ ▪           │ ▪ │ ▪          32 bytes each; a block begins and ends with an entry
//! ```

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
};

use super::pieces::{Cut, Place, ranges};

/// The most pieces of a block: one bit each.
const BLOCK_PIECES: u32 = u64::BITS;
/// The most bytes of a block, unless one entry alone has more. In larger ones, who reads few entries of each (one of many
/// nodes) reads much in vain; smaller ones take more places.
const BLOCK_BYTES: u64 = 8 * 1024;

/// The entries of a file, by their numbers from 0.
#[derive(Debug)]
pub(super) struct Index {
    cut: Cut,
    blocks: Vec<Block>,
    entries: u64,
    /// Pieces of the last block, with those behind its last entry.
    pieces: u32,
    /// The block that was read last: who asks for ascending numbers reads each byte once.
    last: Mutex<Option<Arc<Bytes>>>,
}

/// Neighbouring pieces.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// The number of its first entry.
    first: u64,
    /// Its first byte.
    offset: u64,
    /// From the lowest bit on: whether a piece is an entry. The first one is, and the last one.
    are_entries: u64,
    /// Its bytes.
    length: u32,
}

/// A block that was read.
#[derive(Debug)]
struct Bytes {
    first: u64,
    bytes: Vec<u8>,
    /// Where in them its entries lie.
    entries: Vec<Range<usize>>,
}

impl Index {
    /// One without entries, of a file that is cut so.
    pub fn new(cut: Cut) -> Self {
        Self { cut, blocks: Vec::new(), entries: 0, pieces: 0, last: Mutex::default() }
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// The next piece of the file is an entry.
    pub fn push(&mut self, place: Place) {
        let end = place.offset + place.length as u64;
        match self.blocks.last_mut() {
            Some(block) if self.pieces < BLOCK_PIECES && end - block.offset <= BLOCK_BYTES => {
                block.are_entries |= 1 << self.pieces;
                block.length = (end - block.offset) as u32;
            }
            _ => {
                // The longest entry fits.
                let length = place.length as u32;
                self.blocks.push(Block { first: self.entries, offset: place.offset, are_entries: 1, length });
                self.pieces = 0;
            }
        }
        self.pieces += 1;
        self.entries += 1;
    }

    /// The next piece of the file is none.
    pub fn pass(&mut self) {
        self.pieces = self.pieces.saturating_add(1);
    }

    /// What `read` makes of the bytes of entry `number`, which there is; `None` where the file has other pieces now.
    pub fn read<T>(&self, file: &File, number: u64, read: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        let bytes = self.bytes(file, number)?;
        let entry = bytes.as_ref().and_then(|bytes| bytes.entry(number));
        Ok(entry.map(read))
    }

    /// The block with this entry.
    fn bytes(&self, file: &File, number: u64) -> io::Result<Option<Arc<Bytes>>> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = last().as_ref().filter(|bytes| bytes.entry(number).is_some()) {
            return Ok(Some(bytes.clone()));
        }
        let block = &self.blocks[self.blocks.partition_point(|block| block.first <= number) - 1];
        let bytes = block.read(file, self.cut)?.map(Arc::new);
        if u64::from(block.length) <= BLOCK_BYTES {
            last().clone_from(&bytes);
        }
        Ok(bytes)
    }
}

impl Block {
    fn read(&self, file: &File, cut: Cut) -> io::Result<Option<Bytes>> {
        let mut bytes = vec![0; self.length as usize];
        match file.read_exact_at(&mut bytes, self.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let is_entry = |piece: u32| self.are_entries.unbounded_shr(piece) & 1 == 1;
        let mut entries = Vec::with_capacity(self.are_entries.count_ones() as usize);
        let mut pieces = 0;
        for piece in ranges(cut, &bytes) {
            if is_entry(pieces) {
                entries.push(piece);
            }
            pieces += 1;
        }
        let is_same = pieces == u64::BITS - self.are_entries.leading_zeros();
        Ok(is_same.then_some(Bytes { first: self.first, bytes, entries }))
    }
}

impl Bytes {
    fn entry(&self, number: u64) -> Option<&[u8]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(at).map(|entry| &self.bytes[entry.clone()])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// An index of lines, of which those that begin with `#` are no entries, and its file.
    fn index<'a>(lines: impl IntoIterator<Item = &'a str>) -> (Index, File) {
        let (mut index, mut file, mut offset) = (Index::new(Cut::Lines), tempfile::tempfile().unwrap(), 0);
        let mut text = String::new();
        for (line, text_of) in lines.into_iter().enumerate() {
            let place = Place { offset, length: text_of.len(), line: line as u64 + 1, is_closed: true };
            if text_of.starts_with('#') {
                index.pass()
            } else {
                index.push(place)
            }
            text.push_str(text_of);
            text.push('\n');
            offset = text.len() as u64;
        }
        file.write_all(text.as_bytes()).unwrap();
        (index, file)
    }

    fn held(index: &Index) -> usize {
        index.blocks.capacity() * size_of::<Block>()
    }

    fn entry(index: &Index, file: &File, number: u64) -> String {
        index.read(file, number, |bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn of_short_lines_less_than_a_byte_an_entry_is_held() {
        let (index, file) = index(std::iter::repeat_n("374,44", 64 * 1024));
        assert_eq!((index.len(), index.blocks.len()), (64 * 1024, 1024));
        assert!(held(&index) <= 64 * 1024, "{} bytes are held", held(&index));
        (0..index.len()).step_by(1000).for_each(|number| assert_eq!(entry(&index, &file, number), "374,44"));
    }

    #[test]
    fn of_long_lines_little_is_held_beside_their_bytes() {
        for length in [64, 100, 1_000, 4_000, 4_100, 8_192, 20_000] {
            let line = "x".repeat(length);
            let (index, _) = index(std::iter::repeat_n(line.as_str(), 512));
            let per_mille = index.blocks.len() * size_of::<Block>() * 1000 / (512 * length);
            assert!(per_mille <= 8, "{length}: {per_mille} ‰ of the file");
        }
    }

    #[test]
    fn what_is_no_entry_takes_no_place() {
        let (index, file) =
            index(std::iter::repeat_n("#", 1000).chain(["one"]).chain(std::iter::repeat_n("#", 1000)).chain(["two"]));
        assert_eq!((index.len(), index.blocks.len()), (2, 2));
        assert_eq!((entry(&index, &file, 1), entry(&index, &file, 0)), ("two".into(), "one".into()));
        assert_eq!(index.blocks.iter().map(|block| block.length).sum::<u32>(), 6, "nor is it read");
    }

    #[test]
    fn one_short_block_is_kept_and_no_long_entry() {
        let long = "x".repeat(1 << 20);
        let (index, file) = index(["one", "two", &long, "three"]);
        let kept = || index.last.lock().unwrap().as_ref().map(|bytes| (bytes.first, bytes.bytes.len()));
        assert_eq!((entry(&index, &file, 1).as_str(), kept()), ("two", Some((0, 7))));
        assert_eq!((entry(&index, &file, 2), kept()), (long, Some((0, 7))));
        // A block that is kept is not read again.
        file.set_len(0).unwrap();
        assert_eq!(entry(&index, &file, 0), "one");
        assert!(index.read(&file, 3, |_| ()).unwrap().is_none(), "a file that was cut off is another");
    }

    #[test]
    fn a_file_with_other_pieces_is_seen() {
        let (index, file) = index(["one", "# none", "two", "three"]);
        file.write_all_at(b"on\n", 0).unwrap();
        assert!((0..3).all(|number| index.read(&file, number, |_| ()).unwrap().is_none()));
    }
}
