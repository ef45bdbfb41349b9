"""A CLAP host with a window: plays audio through a plugin in real time while its editor is open under X11."""

import ctypes as c
import os
import shutil
import subprocess
import threading
import time

import numpy as np
from PIL import ImageGrab

RATE_HZ = 48_000
BLOCK = 512
PARAM_VALUE, GESTURE_BEGIN, GESTURE_END = 5, 7, 8


class Version(c.Structure):
    _fields_ = [("major", c.c_uint32), ("minor", c.c_uint32), ("revision", c.c_uint32)]


def method(result, *arguments):
    """A C function whose first argument is the object it belongs to."""
    return c.CFUNCTYPE(result, c.c_void_p, *arguments)


U32 = c.POINTER(c.c_uint32)


class Entry(c.Structure):
    _fields_ = [
        ("version", Version),
        ("init", c.CFUNCTYPE(c.c_bool, c.c_char_p)),
        ("deinit", c.CFUNCTYPE(None)),
        ("get_factory", c.CFUNCTYPE(c.c_void_p, c.c_char_p)),
    ]


class Factory(c.Structure):
    _fields_ = [
        ("count", method(c.c_uint32)),
        ("descriptor", method(c.c_void_p, c.c_uint32)),
        ("create", method(c.c_void_p, c.c_void_p, c.c_char_p)),
    ]


class Host(c.Structure):
    _fields_ = [
        ("version", Version),
        ("data", c.c_void_p),
        ("name", c.c_char_p),
        ("vendor", c.c_char_p),
        ("url", c.c_char_p),
        ("host_version", c.c_char_p),
        ("get_extension", method(c.c_void_p, c.c_char_p)),
        ("request_restart", method(None)),
        ("request_process", method(None)),
        ("request_callback", method(None)),
    ]


class HostGui(c.Structure):
    _fields_ = [
        ("resize_hints_changed", method(None)),
        ("request_resize", method(c.c_bool, c.c_uint32, c.c_uint32)),
        ("request_show", method(c.c_bool)),
        ("request_hide", method(c.c_bool)),
        ("closed", method(None, c.c_bool)),
    ]


class PluginStruct(c.Structure):
    _fields_ = [
        ("descriptor", c.c_void_p),
        ("data", c.c_void_p),
        ("init", method(c.c_bool)),
        ("destroy", method(None)),
        ("activate", method(c.c_bool, c.c_double, c.c_uint32, c.c_uint32)),
        ("deactivate", method(None)),
        ("start_processing", method(c.c_bool)),
        ("stop_processing", method(None)),
        ("reset", method(None)),
        ("process", method(c.c_int32, c.c_void_p)),
        ("get_extension", method(c.c_void_p, c.c_char_p)),
        ("on_main_thread", method(None)),
    ]


class AudioBuffer(c.Structure):
    _fields_ = [
        ("data32", c.POINTER(c.POINTER(c.c_float))),
        ("data64", c.c_void_p),
        ("channels", c.c_uint32),
        ("latency", c.c_uint32),
        ("constant_mask", c.c_uint64),
    ]


class InputEvents(c.Structure):
    _fields_ = [("context", c.c_void_p), ("size", method(c.c_uint32)), ("get", method(c.c_void_p, c.c_uint32))]


class OutputEvents(c.Structure):
    _fields_ = [("context", c.c_void_p), ("try_push", method(c.c_bool, c.c_void_p))]


class Process(c.Structure):
    _fields_ = [
        ("steady_time", c.c_int64),
        ("frames", c.c_uint32),
        ("transport", c.c_void_p),
        ("inputs", c.POINTER(AudioBuffer)),
        ("outputs", c.POINTER(AudioBuffer)),
        ("input_count", c.c_uint32),
        ("output_count", c.c_uint32),
        ("input_events", c.POINTER(InputEvents)),
        ("output_events", c.POINTER(OutputEvents)),
    ]


class EventHeader(c.Structure):
    _fields_ = [("size", c.c_uint32), ("time", c.c_uint32), ("space", c.c_uint16), ("type", c.c_uint16), ("flags", c.c_uint32)]


class WindowHandle(c.Structure):
    _fields_ = [("api", c.c_char_p), ("x11", c.c_ulong)]


class Gui(c.Structure):
    _fields_ = [
        ("is_api_supported", method(c.c_bool, c.c_char_p, c.c_bool)),
        ("get_preferred_api", method(c.c_bool, c.c_void_p, c.c_void_p)),
        ("create", method(c.c_bool, c.c_char_p, c.c_bool)),
        ("destroy", method(None)),
        ("set_scale", method(c.c_bool, c.c_double)),
        ("get_size", method(c.c_bool, U32, U32)),
        ("can_resize", method(c.c_bool)),
        ("get_resize_hints", method(c.c_bool, c.c_void_p)),
        ("adjust_size", method(c.c_bool, U32, U32)),
        ("set_size", method(c.c_bool, c.c_uint32, c.c_uint32)),
        ("set_parent", method(c.c_bool, c.POINTER(WindowHandle))),
        ("set_transient", method(c.c_bool, c.c_void_p)),
        ("suggest_title", method(None, c.c_char_p)),
        ("show", method(c.c_bool)),
        ("hide", method(c.c_bool)),
    ]




class Player:
    """One instance that plays a signal, `[channel, frame]`, over and over in real time, and may have its editor open."""

    def __init__(self, bundle, plugin_id, audio):
        self.audio = np.ascontiguousarray(audio, np.float32)
        self.library = c.CDLL(str(bundle))
        self.entry = Entry.in_dll(self.library, "clap_entry")
        assert self.entry.init(str(bundle).encode()), "the bundle's init"
        factory = c.cast(self.entry.get_factory(b"clap.plugin-factory"), c.POINTER(Factory))
        self.asked_size = None
        self.callback_asked = False
        self.events = []
        self._host()
        pointer = factory.contents.create(c.cast(factory, c.c_void_p), c.cast(c.pointer(self.host), c.c_void_p), plugin_id.encode())
        assert pointer, f"no plugin {plugin_id}"
        self.pointer = pointer
        self.plugin = c.cast(pointer, c.POINTER(PluginStruct)).contents
        assert self.plugin.init(pointer)
        gui = self.plugin.get_extension(pointer, b"clap.gui")
        assert gui, "no editor"
        self.gui = c.cast(gui, c.POINTER(Gui)).contents
        self.parent = None
        self.display = None
        self.playing = None
        self.stop = threading.Event()
        self.late = 0

    def _host(self):
        """The host's side. Everything it hands out is kept alive in `self`."""

        def request_resize(_host, width, height):
            self.asked_size = (width, height)
            return True

        def request_callback(_host):
            self.callback_asked = True

        fields = dict(HostGui._fields_)
        self.host_gui = HostGui(
            fields["resize_hints_changed"](lambda _host: None),
            fields["request_resize"](request_resize),
            fields["request_show"](lambda _host: True),
            fields["request_hide"](lambda _host: True),
            fields["closed"](lambda _host, _destroyed: None),
        )

        def get_extension(_host, name):
            return c.addressof(self.host_gui) if name == b"clap.gui" else None

        fields = dict(Host._fields_)
        self.host = Host(
            Version(1, 2, 0),
            None,
            b"Dualstep tests",
            b"Dualstep",
            b"",
            b"1",
            fields["get_extension"](get_extension),
            fields["request_restart"](lambda _host: None),
            fields["request_process"](lambda _host: None),
            fields["request_callback"](request_callback),
        )

    def play(self):
        """Starts the audio thread."""
        assert self.plugin.activate(self.pointer, float(RATE_HZ), 1, BLOCK)
        self.attend()
        self.stop.clear()
        self.playing = threading.Thread(target=self._play)
        self.playing.start()

    def _play(self):
        channels, frames = self.audio.shape
        buffers = [np.zeros((channels, BLOCK), np.float32) for _ in range(2)]
        pointers = [(c.POINTER(c.c_float) * channels)(*[row.ctypes.data_as(c.POINTER(c.c_float)) for row in buffer]) for buffer in buffers]
        sides = [AudioBuffer(c.cast(pointer, c.POINTER(c.POINTER(c.c_float))), None, channels, 0, 0) for pointer in pointers]

        def push(_list, event):
            header = c.cast(event, c.POINTER(EventHeader)).contents
            self.events.append(header.type)
            return True

        inputs = InputEvents(None, dict(InputEvents._fields_)["size"](lambda _list: 0), dict(InputEvents._fields_)["get"](lambda _list, _index: None))
        outputs = OutputEvents(None, dict(OutputEvents._fields_)["try_push"](push))
        assert self.plugin.start_processing(self.pointer)
        position, start = 0, time.monotonic()
        while not self.stop.is_set():
            due = start + position / RATE_HZ
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -0.1:
                # The machine is too busy: as a sound card would, go on from here.
                self.late += 1
                start -= wait
            index = np.arange(position, position + BLOCK) % frames
            buffers[0][:] = self.audio[:, index]
            block = Process(position, BLOCK, None, c.pointer(sides[0]), c.pointer(sides[1]), 1, 1, c.pointer(inputs), c.pointer(outputs))
            self.plugin.process(self.pointer, c.addressof(block))
            position += BLOCK
        self.plugin.stop_processing(self.pointer)

    def attend(self):
        """The main thread's turn."""
        if self.callback_asked:
            self.callback_asked = False
            self.plugin.on_main_thread(self.pointer)
        if self.asked_size and self.parent:
            (width, height), self.asked_size = self.asked_size, None
            self.x11.XResizeWindow(self.display, self.parent, width, height)
            self.x11.XFlush(self.display)

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.attend()
            time.sleep(0.005)

    def size(self):
        width, height = c.c_uint32(), c.c_uint32()
        assert self.gui.get_size(self.pointer, c.byref(width), c.byref(height))
        return width.value, height.value

    def open(self, scale=1.0):
        """Opens the editor in a window of this host, at the screen's upper left corner, on a screen of `scale` pixels per point."""
        if not self.display:
            self.x11 = c.CDLL("libX11.so.6")
            self.x11.XInitThreads()
            self.x11.XOpenDisplay.restype = c.c_void_p
            self.x11.XDefaultRootWindow.restype = c.c_ulong
            self.x11.XCreateSimpleWindow.restype = c.c_ulong
            numbers = [c.c_int, c.c_int, c.c_uint, c.c_uint, c.c_uint, c.c_ulong, c.c_ulong]
            self.x11.XDefaultRootWindow.argtypes = [c.c_void_p]
            self.x11.XCreateSimpleWindow.argtypes = [c.c_void_p, c.c_ulong, *numbers]
            for name in ["XMapWindow", "XDestroyWindow"]:
                getattr(self.x11, name).argtypes = [c.c_void_p, c.c_ulong]
            self.x11.XResizeWindow.argtypes = [c.c_void_p, c.c_ulong, c.c_uint, c.c_uint]
            self.x11.XFlush.argtypes = [c.c_void_p]
            self.x11.XSync.argtypes = [c.c_void_p, c.c_int]
            self.display = self.x11.XOpenDisplay(None)
            assert self.display, "no X server at DISPLAY"
        assert self.gui.create(self.pointer, b"x11", False)
        if scale != 1.0:
            assert self.gui.set_scale(self.pointer, scale)
        width, height = self.size()
        root = self.x11.XDefaultRootWindow(self.display)
        self.parent = self.x11.XCreateSimpleWindow(self.display, root, 0, 0, width, height, 0, 0, 0)
        self.x11.XMapWindow(self.display, self.parent)
        # The editor has a connection of its own: the server must know the window before the editor hears of it.
        self.x11.XSync(self.display, 0)
        assert self.gui.set_parent(self.pointer, c.byref(WindowHandle(b"x11", self.parent)))
        assert self.gui.show(self.pointer)

    def resize(self, width, height):
        """As if the user dragged the window's corner. Returns the size that the editor took."""
        width, height = c.c_uint32(width), c.c_uint32(height)
        assert self.gui.adjust_size(self.pointer, c.byref(width), c.byref(height))
        self.x11.XResizeWindow(self.display, self.parent, width.value, height.value)
        self.x11.XFlush(self.display)
        assert self.gui.set_size(self.pointer, width.value, height.value)
        return width.value, height.value

    def close(self):
        self.gui.destroy(self.pointer)
        self.x11.XDestroyWindow(self.display, self.parent)
        self.x11.XFlush(self.display)
        self.parent = None
        self.attend()

    def end(self):
        """Stops the audio thread and lets the plugin go."""
        if self.parent:
            self.close()
        if self.playing:
            self.stop.set()
            self.playing.join()
            self.playing = None
            self.plugin.deactivate(self.pointer)
        self.plugin.destroy(self.pointer)


class Screen:
    """An X server of its own, with OpenGL in software, which DISPLAY names from then on."""

    def __init__(self):
        program = shutil.which("Xvfb")
        if not program:
            raise FileNotFoundError("no Xvfb: on Debian, `apt-get install xvfb`")
        read, write = os.pipe()
        options = ["-displayfd", str(write), "-screen", "0", "2000x1400x24", "+extension", "GLX"]
        self.server = subprocess.Popen([program, *options], pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb doesn't start"
        os.environ["DISPLAY"] = f":{number}"

    def close(self):
        self.server.terminate()
        self.server.wait()


def picture(width, height):
    """What is at the screen's upper left corner, as a Pillow image."""
    return ImageGrab.grab(bbox=(0, 0, width, height), xdisplay=os.environ["DISPLAY"]).convert("RGB")
