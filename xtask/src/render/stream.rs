//! The core of rendering: a recording through a processor, block by block, with the latency taken out again.

use std::collections::VecDeque;

use anyhow::Result;

use crate::audio::{Planar, Reader, silence};
use crate::automation::Event;
use crate::host::{Change, HostError, Session};

/// What turns blocks into blocks, later by a fixed number of samples.
pub(super) trait Processor {
    /// Samples between input and output.
    fn latency(&self) -> usize;

    /// Processes one block.
    fn process(&mut self, input: &mut [&mut [f32]], output: &mut [&mut [f32]], changes: &[Change]) -> Result<(), HostError>;
}

impl Processor for Session {
    fn latency(&self) -> usize {
        Session::latency(self)
    }

    fn process(&mut self, input: &mut [&mut [f32]], output: &mut [&mut [f32]], changes: &[Change]) -> Result<(), HostError> {
        Session::process(self, input, output, changes)
    }
}

/// Where samples come from.
pub(super) trait Source {
    /// Fills the start of each channel with up to `frames` samples; fewer only at the end.
    fn read(&mut self, out: &mut Planar, frames: usize) -> Result<usize>;
}

impl Source for Reader {
    fn read(&mut self, out: &mut Planar, frames: usize) -> Result<usize> {
        Ok(Reader::read(self, out, frames)?)
    }
}

/// A stretch of the recording before and after, sample for sample at the same time. Only `from..to` of each channel counts.
pub(super) struct Stretch<'a> {
    pub(super) before: &'a Planar,
    pub(super) after: &'a Planar,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Sends all of `source` through `processor` in blocks of `block` samples and hands what comes out to `sink`, exactly as many samples as
/// went in. `events` must be in order. Returns the number of samples per channel.
///
/// Memory: a few blocks and the latency, however long the recording.
pub(super) fn pump(
    processor: &mut impl Processor,
    source: &mut impl Source,
    channels: usize,
    block: usize,
    events: &[Event],
    sink: &mut dyn FnMut(&Stretch) -> Result<()>,
) -> Result<u64> {
    let latency = processor.latency();
    let (mut input, mut output, mut before) = (silence(channels, block), silence(channels, block), silence(channels, block));
    // What went in and hasn't come out, so that both can be compared. It begins with the latency's worth of nothing.
    let mut waiting: Vec<VecDeque<f32>> = vec![VecDeque::from(vec![0.0; latency]); channels];
    let mut events = events.iter().peekable();
    let mut changes = Vec::new();
    let (mut position, mut skip, mut tail, mut ended, mut frames) = (0u64, latency, latency, false, 0u64);
    loop {
        let mut count = 0;
        if !ended {
            count = source.read(&mut input, block)?;
            ended = count < block;
            frames += count as u64;
        }
        // After the end, silence pushes out what is still inside.
        let padding = if ended { tail.min(block - count) } else { 0 };
        for channel in &mut input {
            channel[count..count + padding].fill(0.0);
        }
        tail -= padding;
        count += padding;
        if count == 0 {
            return Ok(frames);
        }
        changes.clear();
        while let Some(event) = events.next_if(|e| e.sample < position + count as u64) {
            changes.push(Change {
                offset: usize::try_from(event.sample - position).unwrap_or(0),
                number: event.number,
                value: event.value,
            });
        }
        for ((queue, before), input) in waiting.iter_mut().zip(&mut before).zip(&input) {
            queue.extend(&input[..count]);
            for (out, sample) in before.iter_mut().zip(queue.drain(..count)) {
                *out = sample;
            }
        }
        let mut inputs: Vec<&mut [f32]> = input.iter_mut().map(|c| &mut c[..count]).collect();
        let mut outputs: Vec<&mut [f32]> = output.iter_mut().map(|c| &mut c[..count]).collect();
        processor.process(&mut inputs, &mut outputs, &changes)?;
        position += count as u64;
        let from = skip.min(count);
        skip -= from;
        if from < count {
            sink(&Stretch {
                before: &before,
                after: &output,
                from,
                to: count,
            })?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples in memory.
    struct Memory<'a> {
        audio: &'a Planar,
        position: usize,
    }

    impl<'a> Memory<'a> {
        fn new(audio: &'a Planar) -> Self {
            Self { audio, position: 0 }
        }
    }

    impl Source for Memory<'_> {
        fn read(&mut self, out: &mut Planar, frames: usize) -> Result<usize> {
            let count = frames.min(self.audio.first().map_or(0, Vec::len) - self.position);
            for (to, from) in out.iter_mut().zip(self.audio) {
                to[..count].copy_from_slice(&from[self.position..self.position + count]);
            }
            self.position += count;
            Ok(count)
        }
    }

    /// Delays by `latency` and adds the value of the last change, from its sample on.
    struct Delay {
        queue: Vec<VecDeque<f32>>,
        latency: usize,
        offset: f32,
        largest: usize,
    }

    impl Delay {
        fn new(latency: usize) -> Self {
            Self {
                queue: vec![VecDeque::from(vec![0.0; latency])],
                latency,
                offset: 0.0,
                largest: 0,
            }
        }
    }

    impl Processor for Delay {
        fn latency(&self) -> usize {
            self.latency
        }

        fn process(&mut self, input: &mut [&mut [f32]], output: &mut [&mut [f32]], changes: &[Change]) -> Result<(), HostError> {
            self.largest = self.largest.max(input[0].len());
            for frame in 0..input[0].len() {
                for change in changes.iter().filter(|c| c.offset == frame) {
                    #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
                    let value = change.value as f32;
                    self.offset = value;
                }
                self.queue[0].push_back(input[0][frame] + self.offset);
                output[0][frame] = self.queue[0].pop_front().unwrap_or(f32::NAN);
            }
            Ok(())
        }
    }

    fn ramp(frames: u16) -> Planar {
        vec![(0..frames).map(|n| f32::from(n) + 1.0).collect()]
    }

    fn through(latency: usize, block: usize, audio: &Planar, events: &[Event]) -> Result<(u64, Vec<f32>, Vec<f32>, usize)> {
        let mut delay = Delay::new(latency);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let frames = pump(&mut delay, &mut Memory::new(audio), 1, block, events, &mut |s| {
            before.extend_from_slice(&s.before[0][s.from..s.to]);
            after.extend_from_slice(&s.after[0][s.from..s.to]);
            Ok(())
        })?;
        Ok((frames, before, after, delay.largest))
    }

    #[test]
    fn length_and_place_are_exact_for_every_block_and_latency() -> Result<()> {
        for latency in [0, 1, 7, 64, 100] {
            for block in [1, 2, 7, 64, 1000] {
                for frames in [1, 6, 7, 64, 65, 200] {
                    let audio = ramp(frames);
                    let (count, before, after, largest) = through(latency, block, &audio, &[])?;
                    assert_eq!(count, u64::from(frames));
                    assert_eq!(before, audio[0], "latency {latency}, block {block}, frames {frames}");
                    assert_eq!(after, audio[0], "latency {latency}, block {block}, frames {frames}");
                    assert!(largest <= block);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn events_land_on_their_sample() -> Result<()> {
        let audio = vec![vec![0.0; 100]];
        let event = |sample, value| Event { sample, number: 1, value };
        for block in [1, 7, 64, 1000] {
            let (_, _, after, _) = through(
                13,
                block,
                &audio,
                &[event(0, 1.0), event(30, 2.0), event(64, 3.0), event(5000, 9.0)],
            )?;
            let expected: Vec<f32> = (0..100)
                .map(|n| {
                    if n < 30 {
                        1.0
                    } else if n < 64 {
                        2.0
                    } else {
                        3.0
                    }
                })
                .collect();
            assert_eq!(after, expected, "block {block}");
        }
        Ok(())
    }
}
