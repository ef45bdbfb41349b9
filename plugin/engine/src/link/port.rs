//! The audio thread's side of the link: collects hops, plays restored ones, and mixes them with the delayed input.

use super::LinkConfig;
use super::delay::{DelayLine, clean, is_blank, peak};
use super::hop::Hop;
use super::scope::{Moment, ScopeWriter};
use super::status::{Status, WorkerState};
use super::wire::{Fetched, Pace, Wire};
use crate::output::{OutputSection, OutputSettings};
use crate::ramp::Ramp;
use crate::restorer::SILENCE;
use crate::{Controls, latency::LINK_HOPS};
use std::sync::Arc;
use std::time::Duration;

/// Channels at most.
const CHANNELS: usize = 2;
/// Cross-fade between restored and dry where a hop is missing. Shorter where a hop is.
const MISS_FADE_S: f64 = 0.005;
/// Time a change of mix, output gain, bypass or `removed` takes.
const RAMP_S: f64 = 0.010;
/// Time in bypass after which the networks may rest. Whoever compares with the input switches to and fro, and what was learned of the recording would
/// be gone each time.
const BYPASS_S: f64 = 10.0;
/// Time in which a peak meter falls by 8.7 dB.
const PEAK_FALL_S: f64 = 0.3;

/// What the user asks for, constant over one call of [`AudioPort::process`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Passed on to the processor, once per hop, as they stand at its middle sample. `idle` is set by the port.
    pub controls: Controls,
    /// What the output section does to the restored signal before it is mixed.
    pub output: OutputSettings,
    /// Share of the restored signal, 0..=1; the rest is the delayed input.
    pub mix: f32,
    /// Output gain, linear.
    pub gain: f32,
    /// Listen to the delayed input minus the restored signal, in place of the mix. Neither output section nor output gain touch it.
    pub removed: bool,
    /// The delayed input as it is.
    pub bypass: bool,
}

impl Default for Settings {
    /// Fully restored at unchanged level.
    fn default() -> Self {
        Self {
            controls: Controls::default(),
            output: OutputSettings::default(),
            mix: 1.0,
            gain: 1.0,
            removed: false,
            bypass: false,
        }
    }
}

/// The values that travel with each sample through the latency.
#[derive(Clone, Copy, PartialEq)]
struct Lane {
    mix: f32,
    gain: f32,
    removed: f32,
    bypass: f32,
    /// Smoothed where it is used.
    output: OutputSettings,
}

impl Lane {
    /// The values asked for, before any smoothing.
    fn of(settings: &Settings) -> Self {
        Self {
            mix: settings.mix.clamp(0.0, 1.0),
            gain: settings.gain,
            removed: f32::from(u8::from(settings.removed)),
            bypass: f32::from(u8::from(settings.bypass)),
            output: settings.output,
        }
    }

    /// Whether the delayed input is heard as it is; `unrestored`: where nothing was done to it.
    fn passes(&self, unrestored: bool) -> bool {
        // A mix of a sample with itself is that sample.
        self.bypass == 1.0 || (unrestored && self.gain == 1.0 && self.removed == 0.0)
    }

    /// One output sample of the delayed input, the restored signal, and what the output section made of it. Exact where a value is at the end of its range.
    fn blend(&self, dry: f32, wet: f32, finished: f32) -> f32 {
        if self.passes(dry == wet && dry == finished) {
            return dry;
        }
        let mixed = self.gain * lerp(dry, finished, self.mix);
        let heard = lerp(mixed, dry - wet, self.removed);
        contain(lerp(heard, dry, self.bypass))
    }
}

/// From `a` at 0 to `b` at 1, exact at both ends.
fn lerp(a: f32, b: f32, position: f32) -> f32 {
    if position == 0.0 {
        a
    } else if position == 1.0 {
        b
    } else {
        a + position * (b - a)
    }
}

/// Keeps an output sample finite and normal: what overflowed is held at the largest number.
fn contain(sample: f32) -> f32 {
    if sample.is_infinite() {
        f32::MAX.copysign(sample)
    } else {
        clean(sample)
    }
}

/// What is heard as the restored signal in the current hop.
#[derive(Debug)]
enum Wet {
    /// A restored hop; after a missing one it fades in.
    Hop { hop: Hop, fade_in: bool },
    /// The dry signal. After a restored hop, the difference the restoration made there is played backwards and fades out, so that nothing jumps.
    Dry { tail: Option<Hop> },
}

/// The audio thread's end of the link. One per plugin instance; not shared.
///
/// Before it ends, [`AudioPort::process`] has written every output sample: restored, mixed or dry, always [`AudioPort::latency`] samples behind the input.
pub struct AudioPort {
    config: LinkConfig,
    latency: u64,
    /// Without it, audio passes through.
    wire: Option<Wire>,
    status: Arc<Status>,
    /// Samples since the last reset.
    position: u64,
    epoch: u32,
    /// The hop being filled. `None` if no empty one was at hand.
    collecting: Option<Hop>,
    /// Whether every sample of the hop being filled is wholly bypassed.
    idle: bool,
    /// Whether every sample of the hop being filled is silent.
    silent: bool,
    /// Wholly bypassed hops in a row, up to `patience`; so many at the start, when nothing has been learned yet.
    bypassed: usize,
    /// [`BYPASS_S`] in hops.
    patience: usize,
    /// Idle or silent hops in a row, up to `rest_hops`.
    quiet_hops: usize,
    /// [`LinkConfig::rest_hops`].
    rest_hops: usize,
    /// Whether the stream was at rest in the hop before the last one, and in the last one.
    resting: [bool; LINK_HOPS],
    wet: Wet,
    /// Of each channel.
    dry: [DelayLine<f32>; CHANNELS],
    /// Samples in a row that were 0 to the bit in all channels, up to as many as `dry` holds: then it holds nothing else, and needs no more of them.
    blank: usize,
    lanes: DelayLine<Lane>,
    /// The lane written last.
    lane: Lane,
    /// Samples in a row that got this lane, up to as many as `lanes` holds: then it holds nothing else, and needs no writing.
    steady: usize,
    output: OutputSection,
    mix: Ramp,
    gain: Ramp,
    removed: Ramp,
    bypass: Ramp,
    /// Samples of the cross-fade around a missing hop.
    miss_fade: usize,
    input_peak: [f32; CHANNELS],
    output_peak: [f32; CHANNELS],
    /// Samples of the last block, and the factor by which peaks fall in as many.
    fall: (usize, f32),
    /// For the editor.
    scope: ScopeWriter,
}

impl AudioPort {
    pub(super) fn new(config: LinkConfig, wire: Option<Wire>, status: Arc<Status>) -> Self {
        let latency = if wire.is_some() { config.latency() } else { 0 };
        let miss_fade = to_samples(MISS_FADE_S, &config).clamp(1, config.hop.max(1));
        let ramp = Ramp::new(u32::try_from(to_samples(RAMP_S, &config)).unwrap_or(u32::MAX));
        status.set_stream(config.sample_rate_hz, latency);
        let scope = status.scope.connect(config.sample_rate_hz);
        let lane = Lane::of(&Settings::default());
        let mut port = Self {
            config,
            latency: latency as u64,
            wire,
            status,
            position: 0,
            epoch: 0,
            collecting: None,
            idle: true,
            silent: true,
            bypassed: 0,
            patience: to_samples(BYPASS_S, &config).div_ceil(config.hop.max(1)),
            quiet_hops: 0,
            rest_hops: config.rest_hops(),
            resting: [false; LINK_HOPS],
            wet: Wet::Dry { tail: None },
            // Up to a hop is written before it is read.
            dry: std::array::from_fn(|_| DelayLine::new(latency + 2 * miss_fade + config.hop, 0.0)),
            blank: 0,
            lanes: DelayLine::new(latency, lane),
            lane,
            steady: 0,
            output: OutputSection::new(config.sample_rate_hz),
            mix: ramp,
            gain: ramp,
            removed: ramp,
            bypass: ramp,
            miss_fade,
            input_peak: [0.0; CHANNELS],
            output_peak: [0.0; CHANNELS],
            fall: (0, 1.0),
            scope,
        };
        port.reset();
        port
    }

    /// A port without a worker, for when nothing can be restored: audio passes through at once, with the output gain. `reason` is for the user.
    #[must_use]
    pub fn pass_through(sample_rate_hz: f64, channels: usize, status: &Arc<Status>, reason: &str) -> Self {
        status.enter(WorkerState::PassThrough, reason);
        let config = LinkConfig {
            sample_rate_hz: if sample_rate_hz.is_finite() {
                sample_rate_hz.clamp(1.0, 1e7)
            } else {
                48_000.0
            },
            channels,
            hop: 1024,
            restorer_delay: 0,
            max_block: 1,
        };
        Self::new(config, None, Arc::clone(status))
    }

    /// Samples between input and output: constant for the life of the port.
    #[must_use]
    pub fn latency(&self) -> usize {
        if self.wire.is_some() { self.config.latency() } else { 0 }
    }

    /// The measures the port was made for.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Tells of another largest block, in samples. Nothing else changes.
    pub fn set_max_block(&mut self, max_block: usize) {
        self.config.max_block = max_block;
        if let Some(wire) = &mut self.wire {
            wire.set_most_wait(self.config.most_wait());
        }
    }

    /// Back to the start of a stream, whose first settings are in force at once. Hops on their way become stale.
    ///
    /// # Real-time
    /// No allocation, lock, system call or wait, and no time that grows with the latency.
    pub fn reset(&mut self) {
        self.position = 0;
        self.epoch = self.epoch.wrapping_add(1);
        self.bypassed = self.patience;
        self.quiet_hops = 0;
        self.resting = [false; LINK_HOPS];
        let collecting = self.collecting.take();
        let playing = match std::mem::replace(&mut self.wet, Wet::Dry { tail: None }) {
            Wet::Hop { hop, .. } => Some(hop),
            Wet::Dry { tail } => tail,
        };
        if let Some(wire) = &mut self.wire {
            wire.restart(self.epoch);
            collecting.into_iter().chain(playing).for_each(|hop| wire.recycle(hop));
        }
        self.dry.iter_mut().for_each(|line| line.restart(0.0));
        // The next sample goes elsewhere than behind the last one: zeros that didn't fill the line so far leave the rest of it as it is.
        if !self.remembers_nothing() {
            self.blank = 0;
        }
        self.output.reset();
    }

    /// Processes one block in place, `[channel][sample]`: the channels the port was made for, all of the same length.
    ///
    /// # Real-time
    /// No allocation, lock or log. Where a restored hop is missing, or an empty one, waits for it: [`Pace::Offline`] until it comes or the worker has died,
    /// [`Pace::RealTime`] in short sleeps up to half the duration of the audio asked for ahead of time, which with a worker that keeps up happens
    /// only in blocks longer than a hop.
    pub fn process(&mut self, audio: &mut [&mut [f32]], settings: &Settings, pace: Pace) {
        let length = audio.iter().map(|channel| channel.len()).min().unwrap_or(0);
        if length == 0 {
            return;
        }
        if let Some(wire) = &mut self.wire {
            wire.begin_block(Duration::from_secs_f64(length as f64 / self.config.sample_rate_hz));
        }
        self.aim(settings);
        self.lower_peaks(length);
        self.scope.begin_block(&self.status.scope, length);
        let mut done = 0;
        while done < length {
            let offset = self.offset_in_hop();
            if offset == 0 && self.wire.is_some() {
                self.turn_hop(pace);
            }
            let count = (self.config.hop - offset).min(length - done);
            self.run(audio, done, count, offset, settings);
            done += count;
            self.position += count as u64;
            if self.offset_in_hop() == 0 {
                self.send();
            }
        }
        self.scope.flush(&self.status.scope);
        self.status.set_peaks(self.input_peak, self.output_peak);
        self.status.set_output_section(&self.output);
        if let Some(wire) = &mut self.wire {
            wire.end_block();
        }
    }

    /// Lets the peaks fall as they do in `length` samples.
    fn lower_peaks(&mut self, length: usize) {
        if self.fall.0 != length {
            let fall = (-(length as f64) / (PEAK_FALL_S * self.config.sample_rate_hz)).exp();
            #[expect(clippy::cast_possible_truncation, reason = "a meter")]
            let fall = fall as f32;
            self.fall = (length, fall);
        }
        for peak in self.input_peak.iter_mut().chain(&mut self.output_peak) {
            *peak = if *peak > 1e-6 { *peak * self.fall.1 } else { 0.0 };
        }
    }

    fn offset_in_hop(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "less than a hop, which is a usize")]
        let offset = (self.position % self.config.hop as u64) as usize;
        offset
    }

    /// Sets out for the values asked for; at a stream's start they are there at once.
    fn aim(&mut self, settings: &Settings) {
        let lane = Lane::of(settings);
        let targets = [
            (&mut self.mix, lane.mix),
            (&mut self.gain, lane.gain),
            (&mut self.removed, lane.removed),
            (&mut self.bypass, lane.bypass),
        ];
        if self.position == 0 {
            for (ramp, target) in targets {
                ramp.snap(target);
            }
            self.lanes.restart(lane);
            self.steady = 0;
        } else {
            for (ramp, target) in targets {
                ramp.aim(target);
            }
        }
    }

    /// At a hop's first sample: fetches the restored hop that is due, and an empty one for the next input.
    fn turn_hop(&mut self, pace: Pace) {
        let Some(wire) = &mut self.wire else { return };
        let index = self.position / self.config.hop as u64;
        if let Some(due) = index.checked_sub(LINK_HOPS as u64) {
            let old = std::mem::replace(&mut self.wet, Wet::Dry { tail: None });
            let fetched = if self.resting[0] {
                wire.pass_over(due, pace);
                None
            } else {
                Some(wire.fetch(due, pace))
            };
            if matches!(fetched, Some(Fetched::Missed)) {
                self.status.count_miss();
            }
            match (fetched, old) {
                (Some(Fetched::Hop(hop)), Wet::Hop { hop: last, .. }) => {
                    wire.recycle(last);
                    self.wet = Wet::Hop { hop, fade_in: false };
                }
                (Some(Fetched::Hop(hop)), Wet::Dry { tail }) => {
                    if let Some(tail) = tail {
                        wire.recycle(tail);
                    }
                    self.wet = Wet::Hop { hop, fade_in: due > 0 };
                }
                (_, Wet::Hop { hop: last, .. }) => self.wet = Wet::Dry { tail: Some(last) },
                (_, Wet::Dry { tail }) => {
                    if let Some(tail) = tail {
                        wire.recycle(tail);
                    }
                }
            }
        }
        self.idle = true;
        self.silent = true;
        self.collecting = wire.take_free(pace);
        if let Some(hop) = &mut self.collecting {
            hop.index = index;
            hop.epoch = self.epoch;
            hop.blank = true;
        }
    }

    /// After a hop's last sample: sends it.
    fn send(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        self.bypassed = if self.idle { (self.bypassed + 1).min(self.patience) } else { 0 };
        let idle = self.bypassed == self.patience;
        self.quiet_hops = if idle || self.silent {
            (self.quiet_hops + 1).min(self.rest_hops)
        } else {
            0
        };
        let resting = self.quiet_hops == self.rest_hops;
        self.resting = [self.resting[1], resting];
        if let Some(hop) = &mut self.collecting {
            hop.controls.idle = idle;
        }
        wire.send(self.collecting.take(), resting);
    }

    /// `count` samples from `first` on, all in one hop, `offset` samples after its start.
    fn run(&mut self, audio: &mut [&mut [f32]], first: usize, count: usize, offset: usize, settings: &Settings) {
        let hop_length = self.config.hop;
        let channels = audio.len().min(self.config.channels).min(CHANNELS);
        if let Some(hop) = &mut self.collecting
            && (offset..offset + count).contains(&(hop_length / 2))
        {
            hop.controls = settings.controls;
        }
        self.collect(audio, first, count, offset, channels);
        // Settings seldom change: then they needn't travel, which would take hundreds of kilobytes through the caches again and again.
        let steady = self.is_steady(&settings.output).then_some(self.lane);
        let untouched = if let Some(lane) = &steady {
            self.idle &= lane.bypass == 1.0;
            self.output.pass(count, &lane.output)
        } else {
            0
        };
        let unrestored = matches!(self.wet, Wet::Dry { tail: None });
        if untouched == count && !self.scope.is_on() && steady.is_some_and(|lane| lane.passes(unrestored)) {
            self.pass(audio, first, count, channels);
            return;
        }
        for i in 0..count {
            let position = self.position + i as u64;
            let offset = offset + i;
            let lane = steady.unwrap_or_else(|| self.travel(position, &settings.output));
            let dry = self.dry_at(position, self.latency);
            let wet = self.wet_at(position, offset, dry);
            let finished = if i < untouched {
                wet
            } else {
                self.output.process(wet, dry, &lane.output)
            };
            let mut output = [0.0; CHANNELS];
            for channel in 0..channels {
                let heard = lane.blend(dry[channel], wet[channel], finished[channel]);
                self.output_peak[channel] = self.output_peak[channel].max(heard.abs());
                audio[channel][first + i] = heard;
                output[channel] = heard;
            }
            let moment = Moment {
                input: dry,
                restored: wet,
                output,
            };
            self.scope.write(&self.status.scope, moment);
        }
    }

    /// Takes the settings of the sample at `position` on their way; `asked` is what is to be done to the restored signal. Returns those that arrive.
    fn travel(&mut self, position: u64, asked: &OutputSettings) -> Lane {
        let lane = Lane {
            mix: self.mix.advance(),
            gain: self.gain.advance(),
            removed: self.removed.advance(),
            bypass: self.bypass.advance(),
            output: *asked,
        };
        self.idle &= lane.bypass == 1.0;
        self.lanes.write(position, lane);
        self.steady = if lane == self.lane {
            (self.steady + 1).min(self.lanes.capacity())
        } else {
            1
        };
        self.lane = lane;
        self.lanes.read(position, self.latency)
    }

    /// Whether all settings that are on their way are the same, and the next sample's too. They then stay as they are until others are asked for.
    fn is_steady(&self, asked: &OutputSettings) -> bool {
        let ramps = [&self.mix, &self.gain, &self.removed, &self.bypass];
        self.steady == self.lanes.capacity() && *asked == self.lane.output && !ramps.iter().any(|ramp| ramp.moves())
    }

    /// Takes `count` samples of the input: into the hop being filled, the delay of the dry signal and the meters.
    fn collect(&mut self, audio: &mut [&mut [f32]], first: usize, count: usize, offset: usize, channels: usize) {
        let hop_length = self.config.hop;
        let blank = audio[..channels].iter().all(|channel| is_blank(&channel[first..first + count]));
        let remembered = blank && self.remembers_nothing();
        self.blank = if blank {
            (self.blank + count).min(self.dry[0].capacity())
        } else {
            0
        };
        if let Some(hop) = self.collecting.as_mut().filter(|hop| hop.blank && !blank) {
            hop.blank = false;
            hop.audio
                .chunks_exact_mut(hop_length)
                .for_each(|channel| channel[..offset].fill(0.0));
        }
        let mut hop = self.collecting.as_mut().filter(|hop| !hop.blank);
        for (channel, audio) in audio[..channels].iter_mut().enumerate() {
            let input = &mut audio[first..first + count];
            input.iter_mut().for_each(|sample| *sample = clean(*sample));
            let peak = peak(input);
            self.input_peak[channel] = self.input_peak[channel].max(peak);
            self.silent &= peak < SILENCE;
            if let Some(hop) = &mut hop {
                hop.audio[channel * hop_length + offset..][..count].copy_from_slice(input);
            }
            if !remembered {
                self.dry[channel].write_all(self.position, input);
            }
        }
    }

    /// Whether the delay of the dry signal holds nothing but 0, also where the next sample goes.
    fn remembers_nothing(&self) -> bool {
        self.blank == self.dry[0].capacity()
    }

    /// Gives `count` samples of the delayed input as they are.
    fn pass(&mut self, audio: &mut [&mut [f32]], first: usize, count: usize, channels: usize) {
        if self.remembers_nothing() {
            // What came so long ago is 0, as what came just now and stands there.
            return;
        }
        for (channel, audio) in audio[..channels].iter_mut().enumerate() {
            let output = &mut audio[first..first + count];
            self.dry[channel].read_all(self.position, self.latency, output);
            self.output_peak[channel] = self.output_peak[channel].max(peak(output));
        }
    }

    /// The input that came `delay` samples before `position`.
    fn dry_at(&self, position: u64, delay: u64) -> [f32; CHANNELS] {
        std::array::from_fn(|channel| self.dry[channel].read(position, delay))
    }

    /// The restored signal at `position`, `offset` samples after its hop's start, or what stands in for it.
    fn wet_at(&self, position: u64, offset: usize, dry: [f32; CHANNELS]) -> [f32; CHANNELS] {
        let hop_length = self.config.hop;
        let mut wet = dry;
        match &self.wet {
            Wet::Hop { hop, fade_in } => {
                let share = if *fade_in { self.fade_share(offset) } else { 1.0 };
                for channel in 0..self.config.channels {
                    let restored = hop.audio[channel * hop_length + offset];
                    if restored.is_finite() {
                        wet[channel] = lerp(dry[channel], restored, share);
                    }
                }
            }
            Wet::Dry { tail: Some(hop) } if offset < self.miss_fade => {
                let share = 1.0 - self.fade_share(offset);
                // Mirrored at the hop's start: the sample as far before it as this one lies after it.
                let mirrored = self.dry_at(position, self.latency + 2 * offset as u64 + 1);
                for channel in 0..self.config.channels {
                    let restored = hop.audio[channel * hop_length + hop_length - 1 - offset];
                    if restored.is_finite() {
                        wet[channel] = dry[channel] + share * (restored - mirrored[channel]);
                    }
                }
            }
            Wet::Dry { .. } => {}
        }
        wet
    }

    /// From just above 0 at a hop's first sample to 1 at the end of the cross-fade.
    fn fade_share(&self, offset: usize) -> f32 {
        if offset >= self.miss_fade {
            1.0
        } else {
            (offset + 1) as f32 / (self.miss_fade + 1) as f32
        }
    }
}

fn to_samples(seconds: f64, config: &LinkConfig) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some milliseconds at a rate of at most 10 MHz"
    )]
    let samples = (seconds * config.sample_rate_hz).round() as usize;
    samples
}
