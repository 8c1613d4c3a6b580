//! ACKs that push the next step: the push is decided as if the ACK had been applied, and both count or neither.

use taskslot_engine::{Options, Push, Refusal};

use super::{Lockstep, blank, first_of, pick};

impl Lockstep {
    pub(super) fn ack_and_push(&mut self, a: u32, b: u32) {
        let handle = self.handle(a);
        let retain_ms = pick(&[None, Some(0), Some(300)], b);
        let acked = self.queue.finish(self.now, &handle, retain_ms, None);
        let mut model = self.model.clone();
        let expected = model.finish(&self.now, &handle, retain_ms, None);
        assert_eq!(acked.as_ref().map(|_| ()).map_err(|refusal| *refusal), expected.map(|_| ()), "an ack");
        let Ok(acked) = acked else { return };

        let unique = self.unique(b >> 4);
        let options = Options { priority: pick(&[0, 0, 1], b >> 8), unique, ..Options::default() };
        let payload = vec![b'n'; pick(&[0, 10, 300, 4000], b >> 16)];
        let payloads: [&[u8]; 1] = [&payload];
        let push = Push { due: None, options, payloads: &payloads };
        let event = self.queue.push_next(self.now, &push, &acked);
        let mut after = self.queue.clone();
        after.apply(&acked).unwrap();
        let bytes = self.bytes_without_done_of(after);
        let expected = model.push(&self.now, &blank(&options), None, &payloads, bytes);
        assert_eq!(event.as_ref().map(|event| first_of(event)).map_err(|refusal| *refusal), expected);
        let event = match event {
            Ok(event) => Some(event),
            Err(Refusal::Held(id)) => {
                let replaced = self.queue.replace_next(self.now, id, (&[], &payload), &acked);
                let expected = model.replace(id, &[], &payload, bytes);
                assert_eq!(replaced.as_ref().map(Option::is_some).map_err(|refusal| *refusal), expected);
                let Ok(replaced) = replaced else { return };
                replaced
            }
            // Neither counts.
            Err(_) => return,
        };
        self.model = model;
        self.apply(&acked);
        if let Some(event) = event {
            self.make_room(&event);
            self.apply(&event);
        }
    }
}
