//! A VST3 host that makes every call on its own. Ready-made hosts set a parameter and play a block in one go; here a test can look between the two.
//! Linux and Windows: on macOS a library starts in another way.

#![expect(
    unsafe_code,
    reason = "a plugin is a foreign library, and the standard's interfaces are C++ objects"
)]

use crate::bundle::{debug_folder, release_folder};
use crate::host::number;
use crate::{Change, Mode, Signal};
use libloading::Library;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use vst3::Steinberg::Vst::{
    AudioBusBuffers, AudioBusBuffers__type0, IAudioProcessor, IAudioProcessorTrait, IComponent, IComponentTrait, IEditController,
    IEditControllerTrait, IParamValueQueue, IParamValueQueueTrait, IParameterChanges, IParameterChangesTrait, ParamID, ParamValue,
    ParameterInfo, ProcessData, ProcessModes_, ProcessSetup, SymbolicSampleSizes_,
};
use vst3::Steinberg::{
    FIDString, IBStream, IBStream_::IStreamSeekMode_, IBStreamTrait, IPluginBaseTrait, IPluginFactory, IPluginFactoryTrait, PClassInfo,
    int32, int64, kInvalidArgument, kNotImplemented, kResultOk, tresult,
};
use vst3::{Class, ComPtr, ComWrapper, Interface};

/// File name of the VST3 bundle.
const FILE: &str = "Dualstep.vst3";

/// How the folder of this system's library in a bundle ends, and the library itself.
const LIBRARY: (&str, &str) = if cfg!(windows) { ("-win", "vst3") } else { ("-linux", "so") };

/// How a host passes a bus that it has deactivated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Stereo, with null pointers for the samples.
    NullPointers,
    /// Without channels.
    NoChannels,
    /// Not at all.
    NoBus,
}

impl Absent {
    /// What stands for the channels' pointers.
    fn channels(self) -> Option<Vec<*mut f32>> {
        match self {
            Self::NullPointers => Some(vec![std::ptr::null_mut(); 2]),
            Self::NoChannels => Some(Vec::new()),
            Self::NoBus => None,
        }
    }
}

/// One stereo instance of a plugin. Created inactive.
pub struct Vst3Plugin {
    component: ComPtr<IComponent>,
    processor: ComPtr<IAudioProcessor>,
    controller: ComPtr<IEditController>,
}

impl Vst3Plugin {
    /// An instance of the plugin called `name`, of the bundle that users get.
    ///
    /// # Panics
    /// If the bundle can't be loaded or has no such plugin.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::open(&release_folder(), name)
    }

    /// The same, of the bundle with test hooks: see [`Bundle::debug`](crate::Bundle::debug).
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn debug(name: &str) -> Self {
        Self::open(&debug_folder(), name)
    }

    fn open(folder: &Path, name: &str) -> Self {
        let path = binary(&folder.join(FILE));
        // SAFETY: the file is the bundle this workspace built; its entry points are the framework's, written to the VST3 standard. It stays loaded.
        let factory = unsafe {
            let library = Library::new(&path).unwrap_or_else(|error| panic!("{} doesn't load: {error}", path.display()));
            let library: &'static Library = Box::leak(Box::new(library));
            let entered = if cfg!(windows) {
                library.get::<extern "system" fn() -> bool>(b"InitDll").expect("InitDll")()
            } else {
                let enter = library.get::<extern "system" fn(*mut c_void) -> bool>(b"ModuleEntry");
                enter.expect("ModuleEntry")(std::ptr::null_mut())
            };
            assert!(entered, "the module refuses to start");
            let factory = library.get::<extern "system" fn() -> *mut IPluginFactory>(b"GetPluginFactory");
            ComPtr::from_raw(factory.expect("GetPluginFactory")()).expect("a plugin factory")
        };
        // SAFETY: the factory fills in what it is given, or says that it didn't.
        let component = unsafe {
            let mut class: PClassInfo = std::mem::zeroed();
            let found = (0..factory.countClasses()).any(|index| {
                ok(factory.getClassInfo(index, &raw mut class), "a class");
                CStr::from_ptr(class.name.as_ptr()).to_str() == Ok(name)
            });
            assert!(found, "no plugin {name} in {}", path.display());
            let mut component = std::ptr::null_mut();
            let id: FIDString = IComponent::IID.as_ptr().cast();
            ok(factory.createInstance(class.cid.as_ptr(), id, &raw mut component), "an instance");
            ComPtr::from_raw(component.cast::<IComponent>()).expect("a component")
        };
        // SAFETY: the host's context may be null.
        ok(unsafe { component.initialize(std::ptr::null_mut()) }, "initialize");
        Self {
            processor: component.cast().expect("an audio processor"),
            controller: component.cast().expect("an edit controller"),
            component,
        }
    }

    /// Prepares for playing blocks of up to `max_block` frames at `rate_hz`.
    ///
    /// # Panics
    /// If the plugin refuses.
    pub fn activate(&self, mode: Mode, rate_hz: f64, max_block: usize) {
        let mut setup = ProcessSetup {
            processMode: process_mode(mode),
            symbolicSampleSize: int(SymbolicSampleSizes_::kSample32),
            maxSamplesPerBlock: int(max_block),
            sampleRate: rate_hz,
        };
        // SAFETY: the setup outlives the call.
        ok(unsafe { self.processor.setupProcessing(&raw mut setup) }, "setupProcessing");
        // SAFETY: the plugin was set up.
        ok(unsafe { self.component.setActive(1) }, "setActive");
    }

    /// Tells an active plugin whether blocks are about to come.
    ///
    /// # Panics
    /// If the plugin refuses.
    pub fn set_processing(&self, on: bool) {
        // SAFETY: the plugin is active.
        ok(unsafe { self.processor.setProcessing(on.into()) }, "setProcessing");
    }

    /// Frames of latency the plugin reports.
    ///
    /// # Panics
    /// Never: a latency fits.
    #[must_use]
    pub fn latency(&self) -> usize {
        // SAFETY: called from the thread that made the instance.
        usize::try_from(unsafe { self.processor.getLatencySamples() }).expect("a latency that fits")
    }

    /// Frames that the plugin goes on sounding after its input.
    ///
    /// # Panics
    /// Never: a tail fits.
    #[must_use]
    pub fn tail(&self) -> usize {
        // SAFETY: called from the thread that made the instance.
        usize::try_from(unsafe { self.processor.getTailSamples() }).expect("a tail that fits")
    }

    /// How many parameters the plugin can describe, asked for one after the other.
    #[must_use]
    pub fn described_parameters(&self) -> usize {
        let described = |index: &int32| {
            // SAFETY: the plugin fills in what it is given, or says that it didn't.
            unsafe {
                let mut info: ParameterInfo = std::mem::zeroed();
                self.controller.getParameterInfo(*index, &raw mut info) == kResultOk
            }
        };
        (0..).take_while(described).count()
    }

    /// Sets a parameter in the edit controller, 0..=1, as a host's own window does. The processor learns of it from [`Self::render`]'s changes.
    ///
    /// # Panics
    /// If there is no such parameter.
    pub fn set_value(&self, id: &str, value: f64) {
        // SAFETY: called from the thread that made the instance.
        ok(unsafe { self.controller.setParamNormalized(number(id).get(), value) }, id);
    }

    /// A parameter's value in the edit controller, 0..=1.
    #[must_use]
    pub fn value(&self, id: &str) -> f64 {
        // SAFETY: called from the thread that made the instance.
        unsafe { self.controller.getParamNormalized(number(id).get()) }
    }

    /// The plugin's state, as a host keeps it in a session.
    ///
    /// # Panics
    /// If the plugin can't save.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let stream = ComWrapper::new(Stream::default());
        let pointer = stream.as_com_ref::<IBStream>().expect("a stream");
        // SAFETY: the stream outlives the call.
        ok(unsafe { self.component.getState(pointer.as_ptr()) }, "getState");
        stream.bytes().get_ref().clone()
    }

    /// Gives the plugin a saved state.
    ///
    /// # Panics
    /// If the plugin refuses it.
    pub fn load(&self, saved: &[u8]) {
        let stream = ComWrapper::new(Stream(Mutex::new(Cursor::new(saved.to_vec()))));
        let pointer = stream.as_com_ref::<IBStream>().expect("a stream");
        // SAFETY: the stream outlives the call.
        ok(unsafe { self.component.setState(pointer.as_ptr()) }, "setState");
    }

    /// Plays a whole signal on an audio thread, as fast as it goes: blocks of `block` frames that are announced as `mode`, the changes written for its
    /// frames (in order). What the plugin doesn't write stays "not a number".
    ///
    /// # Panics
    /// If the plugin fails to process.
    #[must_use]
    pub fn render(&self, input: &Signal, mode: Mode, block: usize, changes: &[Change]) -> Signal {
        let mut output = Signal {
            channels: vec![vec![f32::NAN; input.frames()]; input.channels.len()],
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for begin in (0..input.frames()).step_by(block) {
                    let end = input.frames().min(begin + block);
                    let mut reading = input.slice(begin..end).channels;
                    let mut writing: Vec<&mut [f32]> = output.channels.iter_mut().map(|channel| &mut channel[begin..end]).collect();
                    let queues = queues(changes, begin..end);
                    self.process(
                        mode,
                        Some(reading.iter_mut().map(|channel| channel.as_mut_ptr()).collect()),
                        Some(writing.iter_mut().map(|channel| channel.as_mut_ptr()).collect()),
                        end - begin,
                        queues,
                    );
                }
            });
        });
        output
    }

    /// Plays one block without an input, on top of what `output` holds, offline.
    ///
    /// # Panics
    /// If the plugin fails to process.
    pub fn render_without_input(&self, output: &mut Signal, absent: Absent) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let writing = output.channels.iter_mut().map(|channel| channel.as_mut_ptr()).collect();
                self.process(Mode::Offline, absent.channels(), Some(writing), output.frames(), Vec::new());
            });
        });
    }

    /// Plays one block without an output, offline.
    ///
    /// # Panics
    /// If the plugin fails to process.
    pub fn render_without_output(&self, input: &Signal, absent: Absent) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut reading = input.clone();
                let reading = reading.channels.iter_mut().map(|channel| channel.as_mut_ptr()).collect();
                self.process(Mode::Offline, Some(reading), absent.channels(), input.frames(), Vec::new());
            });
        });
    }

    /// Gives the plugin changes without sound: a block of no frames.
    ///
    /// # Panics
    /// If the plugin fails to process.
    pub fn flush(&self, changes: &[Change]) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.process(Mode::RealTime, None, None, 0, queues(changes, 0..1)));
        });
    }

    fn process(
        &self,
        mode: Mode,
        mut inputs: Option<Vec<*mut f32>>,
        mut outputs: Option<Vec<*mut f32>>,
        frames: usize,
        queues: Vec<Queue>,
    ) {
        let bus = |channels: &mut [*mut f32]| AudioBusBuffers {
            numChannels: int(channels.len()),
            silenceFlags: 0,
            __field0: AudioBusBuffers__type0 {
                channelBuffers32: channels.as_mut_ptr(),
            },
        };
        let mut input = bus(inputs.as_deref_mut().unwrap_or_default());
        let mut output = bus(outputs.as_deref_mut().unwrap_or_default());
        let queues = queues.into_iter().map(|queue| ComWrapper::new(queue).to_com_ptr());
        let changes = ComWrapper::new(Changes(queues.map(|queue| queue.expect("a queue")).collect()));
        let mut data = ProcessData {
            processMode: process_mode(mode),
            symbolicSampleSize: int(SymbolicSampleSizes_::kSample32),
            numSamples: int(frames),
            numInputs: inputs.is_some().into(),
            numOutputs: outputs.is_some().into(),
            inputs: &raw mut input,
            outputs: &raw mut output,
            inputParameterChanges: changes.as_com_ref::<IParameterChanges>().expect("changes").as_ptr(),
            outputParameterChanges: std::ptr::null_mut(),
            inputEvents: std::ptr::null_mut(),
            outputEvents: std::ptr::null_mut(),
            processContext: std::ptr::null_mut(),
        };
        // SAFETY: everything that the data points to outlives the call; each pointer to samples has room for as many frames as it says, or
        // is null.
        ok(unsafe { self.processor.process(&raw mut data) }, "process");
    }
}

impl Drop for Vst3Plugin {
    fn drop(&mut self) {
        // SAFETY: an inactive plugin may be told so again; nothing is called after this.
        unsafe {
            self.processor.setProcessing(0);
            self.component.setActive(0);
            self.component.terminate();
        }
    }
}

/// The library inside the bundle at `path`.
fn binary(path: &Path) -> PathBuf {
    let found = std::fs::read_dir(path.join("Contents")).ok().and_then(|contents| {
        let mut folders = contents.filter_map(Result::ok).map(|entry| entry.path());
        folders.find(|folder| folder.to_string_lossy().ends_with(LIBRARY.0))
    });
    let folder = found.unwrap_or_else(|| {
        panic!(
            "no library for this system in {}: `cargo xtask test` builds the bundles and runs all tests",
            path.display()
        )
    });
    let library = folder.join(FILE).with_extension(LIBRARY.1);
    library.canonicalize().unwrap_or(library)
}

/// The changes of a block, one queue for each parameter.
fn queues(changes: &[Change], block: std::ops::Range<usize>) -> Vec<Queue> {
    let mut queues = BTreeMap::<_, Vec<_>>::new();
    for change in changes.iter().filter(|change| block.contains(&change.at)) {
        let points = queues.entry(number(change.id).get()).or_default();
        points.push((int(change.at - block.start), change.value));
    }
    queues.into_iter().map(|(id, points)| Queue { id, points }).collect()
}

/// The changes of one parameter in a block: offsets in frames, values 0..=1.
struct Queue {
    id: ParamID,
    points: Vec<(int32, ParamValue)>,
}

impl Class for Queue {
    type Interfaces = (IParamValueQueue,);
}

impl IParamValueQueueTrait for Queue {
    unsafe fn getParameterId(&self) -> ParamID {
        self.id
    }

    unsafe fn getPointCount(&self) -> int32 {
        int(self.points.len())
    }

    unsafe fn getPoint(&self, index: int32, offset: *mut int32, value: *mut ParamValue) -> tresult {
        let point = usize::try_from(index).ok().and_then(|index| self.points.get(index));
        let Some(point) = point else { return kInvalidArgument };
        // SAFETY: the caller's pointers are valid.
        unsafe { (*offset, *value) = *point };
        kResultOk
    }

    unsafe fn addPoint(&self, _offset: int32, _value: ParamValue, _index: *mut int32) -> tresult {
        kNotImplemented
    }
}

/// All changes of a block.
struct Changes(Vec<ComPtr<IParamValueQueue>>);

impl Class for Changes {
    type Interfaces = (IParameterChanges,);
}

impl IParameterChangesTrait for Changes {
    unsafe fn getParameterCount(&self) -> int32 {
        int(self.0.len())
    }

    unsafe fn getParameterData(&self, index: int32) -> *mut IParamValueQueue {
        let queue = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        queue.map_or(std::ptr::null_mut(), ComPtr::as_ptr)
    }

    unsafe fn addParameterData(&self, _id: *const ParamID, _index: *mut int32) -> *mut IParamValueQueue {
        std::ptr::null_mut()
    }
}

/// A state, in memory.
#[derive(Default)]
struct Stream(Mutex<Cursor<Vec<u8>>>);

impl Stream {
    fn bytes(&self) -> MutexGuard<'_, Cursor<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Class for Stream {
    type Interfaces = (IBStream,);
}

impl IBStreamTrait for Stream {
    unsafe fn read(&self, buffer: *mut c_void, bytes: int32, done: *mut int32) -> tresult {
        // SAFETY: the caller's buffer has room for so many bytes.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast(), usize::try_from(bytes).unwrap_or(0)) };
        // SAFETY: the caller's pointer is valid or null.
        unsafe { told(self.bytes().read(buffer).map(int), done) }
    }

    unsafe fn write(&self, buffer: *mut c_void, bytes: int32, done: *mut int32) -> tresult {
        // SAFETY: the caller's buffer holds so many bytes.
        let buffer = unsafe { std::slice::from_raw_parts(buffer.cast_const().cast(), usize::try_from(bytes).unwrap_or(0)) };
        // SAFETY: the caller's pointer is valid or null.
        unsafe { told(self.bytes().write(buffer).map(int), done) }
    }

    unsafe fn seek(&self, position: int64, mode: int32, reached: *mut int64) -> tresult {
        let to = match mode {
            mode if mode == int(IStreamSeekMode_::kIBSeekSet) => SeekFrom::Start(position.cast_unsigned()),
            mode if mode == int(IStreamSeekMode_::kIBSeekCur) => SeekFrom::Current(position),
            mode if mode == int(IStreamSeekMode_::kIBSeekEnd) => SeekFrom::End(position),
            _ => return kInvalidArgument,
        };
        // SAFETY: the caller's pointer is valid or null.
        unsafe { told(self.bytes().seek(to).map(u64::cast_signed), reached) }
    }

    unsafe fn tell(&self, position: *mut int64) -> tresult {
        // SAFETY: the caller's pointer is valid or null.
        unsafe { told(Ok(self.bytes().position().cast_signed()), position) }
    }
}

/// Hands a result on to a caller who may want to know the number.
///
/// # Safety
/// `to` is valid or null.
unsafe fn told<T>(result: std::io::Result<T>, to: *mut T) -> tresult {
    let Ok(number) = result else { return kInvalidArgument };
    // SAFETY: see above.
    if let Some(to) = unsafe { to.as_mut() } {
        *to = number;
    }
    kResultOk
}

/// What the standard calls a mode.
fn process_mode(mode: Mode) -> int32 {
    int(match mode {
        Mode::RealTime => ProcessModes_::kRealtime,
        Mode::Offline => ProcessModes_::kOffline,
    })
}

/// A count, or one of the standard's constants (whose type depends on the system), in the standard's type.
fn int(number: impl TryInto<int32>) -> int32 {
    number.try_into().ok().expect("a number that fits")
}

/// Checks that the plugin agreed.
fn ok(result: tresult, what: &str) {
    assert_eq!(result, kResultOk, "{what}");
}
