//! A list that grows without being copied, for what very many sockets have a place in.

/// Bytes of one piece of memory. A vector that doubles leaves as much behind in the allocator as it holds.
const CHUNK: usize = 4096;

/// Pieces of the same size, all full but the last.
#[derive(Debug)]
pub(crate) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Chunks<T> {
    /// Elements of one piece.
    const EACH: usize = if size_of::<T>() < CHUNK {
        CHUNK / size_of::<T>()
    } else {
        1
    };

    pub(crate) fn len(&self) -> usize {
        match self.0.last() {
            Some(last) => (self.0.len() - 1) * Self::EACH + last.len(),
            None => 0,
        }
    }

    /// Adds an element and says where it stands.
    pub(crate) fn push(&mut self, element: T) -> usize {
        let place = self.len();
        match self.0.last_mut() {
            Some(last) if last.len() < Self::EACH => last.push(element),
            _ => {
                let mut chunk = Vec::with_capacity(Self::EACH);
                chunk.push(element);
                self.0.push(chunk);
            }
        }
        place
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.0
            .get_mut(place / Self::EACH)?
            .get_mut(place % Self::EACH)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_where_they_were_put() {
        let mut chunks = Chunks::default();
        assert_eq!((chunks.len(), chunks.get_mut(0)), (0, None));
        for number in 0..3000_u64 {
            assert_eq!(chunks.push(number), number as usize);
            assert_eq!(chunks.len(), number as usize + 1);
        }
        assert!(chunks.iter_mut().map(|number| *number).eq(0..3000));
        assert_eq!(chunks.get_mut(1234), Some(&mut 1234));
        assert_eq!(chunks.get_mut(3000), None);
    }
}
