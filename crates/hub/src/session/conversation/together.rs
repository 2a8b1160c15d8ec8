//! Publications that have come together: several messages for one look at the members of their tag.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{Session, share_of};
use crate::{
    code::event,
    config::Overflow,
    hub::{Delivery, Hub, Outgoing, SendError},
    json::Json,
    outbox::Frame,
    refusal::Refusal,
    registry::Connection,
    session::built_in::{Asked, may_publish},
    share,
    target::Target,
    wire::Wire,
    writer::Due,
};

/// Most publications that are handled together.
pub(super) const MOST: usize = 16;

/// Messages that count as one delivery where a queue takes a run of them at once: 16 of them cost a quarter more than one.
const TOGETHER: usize = 4;

impl Session {
    /// Handles the publications that stand first in the inbox and are for one tag; whether there were any. Not where others
    /// have a say in them or they have to wait for something, nor what has to be refused.
    pub(super) fn publish_together(&mut self) -> bool {
        let first = self.inbox.front();
        let publishes = first.is_some_and(|job| job.request.event() == event::PUBLISH);
        if !publishes || self.wire != Wire::V2 {
            return false;
        }
        let client = self.client.clone();
        let hub = client.hub();
        let is_free =
            hub.gates(|gates| gates.publish.is_none()) && hub.beyond(&Target::All).is_none();
        if !is_free {
            return false;
        }
        let Some(tag) = self.asked(0).map(|asked| asked.publication.tag.clone()) else {
            return false;
        };
        if !may_publish(&client, &tag) {
            return false;
        }
        let Ok(_permit) = hub.0.permits.try_acquire() else {
            return false;
        };
        let members = hub.tag(tag.clone()).count();
        let at_the_price_of_one = if self.is_split { 1 } else { TOGETHER };
        let most = at_the_price_of_one * self.accounting.allowance(members);
        let mut count = 1;
        while count < most.min(MOST)
            && self
                .asked(count)
                .is_some_and(|asked| asked.publication.tag == tag)
        {
            count += 1;
        }
        let mut requests = Vec::with_capacity(count);
        let mut messages = Vec::with_capacity(count);
        for job in self.inbox.drain(..count) {
            self.inbox_bytes -= job.request.weight();
            if let Some(asked) = job.asked {
                requests.push(job.request);
                messages.push(message(*asked));
            }
        }
        let share = || share_of(&client);
        let deliver = || hub.deliver_together(&tag, &messages);
        let (deliveries, is_split) = self.accounting.charge(deliver, share);
        self.is_split = is_split;
        for (request, delivery) in requests.iter().zip(deliveries) {
            let answer = delivery.map_err(Refusal::from);
            // Without an id nobody hears it.
            let answer = answer.map(|delivery| request.id().and_then(|_| Json::of(&delivery).ok()));
            self.answer(request, answer);
        }
        true
    }

    /// What a request in the inbox asks for; `None` where it is not to publish, or cannot be read.
    fn asked(&mut self, index: usize) -> Option<&Asked> {
        let hub = self.client.hub();
        let job = self.inbox.get_mut(index)?;
        if job.request.event() == event::PUBLISH && job.asked.is_none() {
            let asked = Asked::read(hub, &job.request, job.tag.clone());
            job.asked = asked.ok().map(Box::new);
        }
        job.asked.as_deref()
    }
}

fn message(asked: Asked) -> Outgoing {
    Outgoing {
        event: asked.publication.event,
        data: asked.publication.data,
        except: None,
        overflow: asked.key.is_some().then_some(Overflow::Latest),
        key: asked.key,
    }
}

impl Hub {
    /// Puts messages into the queues of a tag's members, one behind the other and nothing of others between them; what
    /// became of each, and whether more than a few of the queues did not take them at once.
    fn deliver_together(
        &self,
        tag: &Arc<str>,
        messages: &[Outgoing],
    ) -> (Vec<Result<Delivery, SendError>>, bool) {
        let inner = &*self.0;
        let weight = messages.iter().map(Outgoing::weight).sum();
        if messages.len() < 2 || inner.budget.is_short(weight) {
            let target = Target::Tag(tag.clone());
            let deliveries = messages
                .iter()
                .map(|message| self.deliver(&target, message));
            return (deliveries.collect(), false);
        }
        let count = messages.len() as u64;
        inner.flow.published.fetch_add(count, Relaxed);
        let mut deliveries = vec![Delivery::default(); messages.len()];
        let mut due = Due::default();
        let (mut whole, mut split) = (0, 0);
        if let Some(group) = inner.registry.tags.get(tag) {
            let bounds = self.bounds();
            let budget = &inner.budget;
            let mut state = group.state();
            let frames: Vec<Frame> = messages
                .iter()
                .map(|message| {
                    state.offset += 1;
                    let place = (group.name.clone(), state.offset);
                    message.frame(inner, Some(place), group.manner.overflow)
                })
                .collect();
            let run = Frame::run(frames, budget);
            let mut offer = |member: &Arc<Connection>| {
                if due.offer_run(member, &run, bounds) {
                    whole += 1;
                    return;
                }
                split += 1;
                for (frame, delivery) in run.parts().iter().zip(&mut deliveries) {
                    delivery.count(due.offer(member, frame, bounds, budget));
                }
            };
            state.members.values().for_each(&mut offer);
            drop(state);
            for delivery in &mut deliveries {
                delivery.receivers += whole;
                delivery.queued += whole;
            }
        }
        for delivery in &deliveries {
            self.account(delivery);
        }
        share::count(whole * count.div_ceil(TOGETHER as u64) + split * count);
        due.write(&inner.homes, &inner.budget, &inner.flow);
        (deliveries.into_iter().map(Ok).collect(), split > whole / 8)
    }
}
