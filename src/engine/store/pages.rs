//! The list of a log's pages, in chunks.

use std::collections::VecDeque;

use taskslot_edges::{edge, rare};

use crate::invalid::{Invalid, ensure};
use crate::store::page::Page;

/// The most pages of a chunk. Removing a page moves at most half of its chunk, about 15 KB.
const CHUNK_PAGES: usize = edge(256, 4);
/// A chunk with no more pages than this joins its neighbour if both together have at most twice as many.
const FEW_PAGES: usize = CHUNK_PAGES / 4;
/// A list never shrinks below room for this many.
const KEPT: usize = edge(16, 2);

/// The position of a page in the list, valid until a page is added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PageAt {
    chunk: u32,
    page: u32,
}

impl PageAt {
    fn new(chunk: usize, page: usize) -> PageAt {
        PageAt { chunk: chunk as u32, page: page as u32 }
    }
}

/// Pages in ascending order, in chunks of bounded length.
///
/// Ten million tasks are about seventy thousand pages. In one list, removing a page in the middle would move megabytes,
/// and so would adding one when the list has no room left.
///
/// Invariant: no chunk is empty or longer than `CHUNK_PAGES`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    chunks: VecDeque<VecDeque<Page>>,
    len: usize,
}

impl Pages {
    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes taken from the allocator without what the pages themselves take, approximately.
    pub fn memory(&self) -> usize {
        // A list that has only one chunk is counted exactly.
        let pages = self.len.max(self.chunks.front().map_or(0, VecDeque::capacity));
        self.chunks.capacity() * size_of::<VecDeque<Page>>() + pages * size_of::<Page>()
    }

    pub fn get(&self, at: PageAt) -> Option<&Page> {
        self.chunks.get(at.chunk as usize)?.get(at.page as usize)
    }

    pub fn get_mut(&mut self, at: PageAt) -> Option<&mut Page> {
        self.chunks.get_mut(at.chunk as usize)?.get_mut(at.page as usize)
    }

    pub fn back(&self) -> Option<&Page> {
        self.chunks.back()?.back()
    }

    pub fn back_mut(&mut self) -> Option<&mut Page> {
        self.chunks.back_mut()?.back_mut()
    }

    /// Whether it is the position of the last page.
    pub fn is_last(&self, at: PageAt) -> bool {
        let last = self.chunks.back().map(|chunk| PageAt::new(self.chunks.len() - 1, chunk.len() - 1));
        last == Some(at)
    }

    pub fn push_back(&mut self, page: Page) {
        match self.chunks.back_mut().filter(|last| last.len() < CHUNK_PAGES) {
            Some(last) => last.push_back(page),
            None => {
                rare!("a chunk of pages begins");
                self.chunks.push_back(VecDeque::from([page]));
            }
        }
        self.len += 1;
    }

    /// Removes a page.
    pub fn remove(&mut self, at: PageAt) {
        let index = at.chunk as usize;
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        self.len -= usize::from(chunk.remove(at.page as usize).is_some());
        if chunk.is_empty() {
            rare!("a chunk of pages is removed");
            self.chunks.remove(index);
            shrink(&mut self.chunks);
        } else if chunk.len() <= FEW_PAGES {
            shrink(chunk);
            self.join(index);
            self.join(index.saturating_sub(1));
        }
    }

    /// Joins a chunk and the next one if they have few pages, so that scattered pages don't keep a chunk each.
    fn join(&mut self, index: usize) {
        let lengths = [index, index + 1].map(|at| self.chunks.get(at).map(VecDeque::len));
        let [Some(here), Some(next)] = lengths else { return };
        if here + next <= 2 * FEW_PAGES
            && let Some(mut pages) = self.chunks.remove(index + 1)
            && let Some(chunk) = self.chunks.get_mut(index)
        {
            rare!("two chunks of pages are joined");
            chunk.append(&mut pages);
            shrink(&mut self.chunks);
        }
    }

    /// The position of the last page for which `holds` is true. It is true for all pages before that one, and for none
    /// after it.
    #[inline]
    pub fn last_where(&self, holds: impl Fn(&Page) -> bool) -> Option<PageAt> {
        let begins = |chunk: &VecDeque<Page>| chunk.front().is_some_and(&holds);
        let chunk = self.chunks.partition_point(begins).checked_sub(1)?;
        let page = self.chunks.get(chunk)?.partition_point(&holds).checked_sub(1)?;
        Some(PageAt::new(chunk, page))
    }

    /// The pages from a position on, each with its position.
    pub fn iter_from(&self, mut at: PageAt) -> impl Iterator<Item = (PageAt, &Page)> {
        std::iter::from_fn(move || {
            loop {
                let chunk = self.chunks.get(at.chunk as usize)?;
                if let Some(page) = chunk.get(at.page as usize) {
                    let here = at;
                    at.page += 1;
                    return Some((here, page));
                }
                at = PageAt { chunk: at.chunk + 1, page: 0 };
            }
        })
    }

    /// The pages from a position back to the first, each with its position.
    pub fn iter_back(&self, from: PageAt) -> impl Iterator<Item = (PageAt, &Page)> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let here = next?;
            let page = self.get(here)?;
            next = match (here.page.checked_sub(1), here.chunk.checked_sub(1)) {
                (Some(page), _) => Some(PageAt { page, ..here }),
                (None, Some(chunk)) => {
                    rare!("pages are read back into the chunk before");
                    let last =
                        self.chunks.get(chunk as usize).map_or(0, |chunk| chunk.len().saturating_sub(1));
                    Some(PageAt::new(chunk as usize, last))
                }
                (None, None) => None,
            };
            Some((here, page))
        })
    }

    /// All pages.
    pub fn iter(&self) -> impl Iterator<Item = &Page> {
        self.chunks.iter().flatten()
    }

    /// Whether the invariant holds and the count of pages is correct.
    pub fn validate(&self) -> Result<(), Invalid> {
        let is_in_bounds = |chunk: &VecDeque<Page>| (1..=CHUNK_PAGES).contains(&chunk.len());
        ensure(self.chunks.iter().all(is_in_bounds), "chunks of pages in bounds")?;
        ensure(self.iter().count() == self.len, "a correct count of pages")
    }
}

/// Releases memory when a list has become much shorter.
fn shrink<T>(list: &mut VecDeque<T>) {
    let needed = list.len().max(KEPT);
    if list.capacity() > 4 * needed {
        rare!("a list of pages gives memory back");
        list.shrink_to(2 * needed);
    }
}
