"""The VST3's editor opens and closes while parameters change, as automation does. Run as a program, with the binary in the bundle, this is the host."""

import ctypes as c
import os
import subprocess
import sys
import threading
import time

import pytest
import window

I_EDIT_CONTROLLER = bytes.fromhex("DCD7BBE37742448DA874AACC979C759E")
STAGE1 = 1254989043


F_UNKNOWN = bytes.fromhex("0000000000000000C000000000000046")
I_PLUG_FRAME = bytes.fromhex("367FAF01AFA946938D4DA2A0ED0882A3")
I_RUN_LOOP = bytes.fromhex("18C3536697764F1A9C5B83857A871389")
I_PLUG_VIEW_CONTENT_SCALE_SUPPORT = bytes.fromhex("65ED96908AC445258AADEF7A72EA703F")


class ClassInfo(c.Structure):
    _fields_ = [("cid", c.c_char * 16), ("cardinality", c.c_int32), ("category", c.c_char * 32), ("name", c.c_char * 64)]


class Rect(c.Structure):
    _fields_ = [("left", c.c_int32), ("top", c.c_int32), ("right", c.c_int32), ("bottom", c.c_int32)]


def call(thing, index, *arguments, types=(), result=c.c_int32):
    """Calls the method of this index in the interface's table."""
    table = c.cast(thing, c.POINTER(c.POINTER(c.c_void_p))).contents
    return c.CFUNCTYPE(result, c.c_void_p, *types)(table[index])(thing, *arguments)


def release(thing):
    call(thing, 2, result=c.c_uint32)


class Interface:
    """An object of the host's that the plugin may call: `methods` after FUnknown's three, in the order of the interface's table."""

    def __init__(self, query, methods):
        prototype = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_void_p, c.c_void_p)
        count = c.CFUNCTYPE(c.c_uint32, c.c_void_p)(lambda _: 1)
        self._kept = [prototype(query), count, count] + [prototype(method) for method in methods]
        self._table = (c.c_void_p * len(self._kept))(*[c.cast(method, c.c_void_p) for method in self._kept])
        self._object = c.pointer(self._table)
        self.address = c.addressof(self._object)


class Frame:
    """A host's frame for an editor, with a run loop beside it, as Linux hosts have. It holds a reference to each handler, as they do."""

    def __init__(self):
        self.handlers = []
        self.asked_sizes = []
        # Register and unregister a handler, and the same for timers, which nobody asks for.
        self.run_loop = Interface(self._query, [self._register, self._unregister, lambda *_: 1, lambda *_: 1])
        self.frame = Interface(self._query, [self._resize])

    def _resize(self, _, view, rect):
        """Gives the view its new size before this returns, as some hosts do."""
        size = c.cast(rect, c.POINTER(Rect)).contents
        self.asked_sizes.append((size.right - size.left, size.bottom - size.top))
        return call(view, 10, rect, types=[c.c_void_p])

    def _query(self, _, wanted, result):
        interfaces = {F_UNKNOWN: self.frame, I_PLUG_FRAME: self.frame, I_RUN_LOOP: self.run_loop}
        found = interfaces.get(c.string_at(wanted, 16))
        c.cast(result, c.POINTER(c.c_void_p))[0] = found.address if found else None
        return 0 if found else -1

    def _register(self, _, handler, descriptor):
        call(handler, 1, result=c.c_uint32)
        self.handlers.append(handler)
        return 0

    def _unregister(self, _, handler, __):
        self.handlers.remove(handler)
        release(handler)
        return 0


def open_files():
    return len(os.listdir("/proc/self/fd"))


def size_of(view):
    rect = Rect()
    assert call(view, 9, c.byref(rect), types=[c.c_void_p]) == 0
    return rect.right - rect.left, rect.bottom - rect.top


def open_scaled(controller, parent):
    """Opens the editor in a host that names the screen's scale factor before it gives the view its window."""
    frame = Frame()
    view = call(controller, 17, b"editor", types=[c.c_char_p], result=c.c_void_p)
    scaled = c.c_void_p()
    assert call(view, 0, I_PLUG_VIEW_CONTENT_SCALE_SUPPORT, c.byref(scaled), types=[c.c_char_p, c.c_void_p]) == 0
    assert call(scaled.value, 3, 2.0, types=[c.c_float]) == 0, "the scale factor is refused"
    release(scaled.value)
    assert call(view, 12, frame.frame.address, types=[c.c_void_p]) == 0
    width, height = size_of(view)
    assert call(view, 4, parent, b"X11EmbedWindowID", types=[c.c_void_p, c.c_char_p]) == 0, "the editor doesn't open"
    assert frame.asked_sizes == [(2 * width, 2 * height)], "no room is asked for"
    assert size_of(view) == (2 * width, 2 * height)
    assert call(view, 5) == 0, "the editor doesn't close"
    release(view)


def host(binary):
    """Opens the editor ten times while another thread sets a parameter, once on a scaled screen, then lets the plugin go."""
    x11 = c.CDLL("libX11.so.6")
    x11.XInitThreads()
    for name, result in [("XOpenDisplay", c.c_void_p), ("XDefaultRootWindow", c.c_ulong), ("XCreateSimpleWindow", c.c_ulong)]:
        getattr(x11, name).restype = result
    x11.XDefaultRootWindow.argtypes = [c.c_void_p]
    x11.XCreateSimpleWindow.argtypes = [c.c_void_p, c.c_ulong, c.c_int, c.c_int, c.c_uint, c.c_uint, c.c_uint, c.c_ulong, c.c_ulong]
    x11.XMapWindow.argtypes = [c.c_void_p, c.c_ulong]
    x11.XSync.argtypes = [c.c_void_p, c.c_int]
    display = x11.XOpenDisplay(None)
    parent = x11.XCreateSimpleWindow(display, x11.XDefaultRootWindow(display), 0, 0, 940, 640, 0, 0, 0)
    x11.XMapWindow(display, parent)
    x11.XSync(display, 0)

    library = c.CDLL(binary)
    assert library.ModuleEntry(c.c_void_p(library._handle))
    library.GetPluginFactory.restype = c.c_void_p
    factory = library.GetPluginFactory()
    info, controller = ClassInfo(), c.c_void_p()
    assert call(factory, 5, 0, c.byref(info), types=[c.c_int32, c.c_void_p]) == 0
    cid = c.string_at(c.addressof(info), 16)
    created = call(factory, 6, cid, I_EDIT_CONTROLLER, c.byref(controller), types=[c.c_char_p, c.c_char_p, c.c_void_p])
    assert created == 0, "no edit controller"
    controller = controller.value
    call(controller, 3, None, types=[c.c_void_p])

    stop = threading.Event()

    def automate():
        step = 0
        while not stop.wait(0.001):
            step += 1
            call(controller, 15, STAGE1, step % 100 / 100, types=[c.c_uint32, c.c_double])

    automation = threading.Thread(target=automate, daemon=True)
    automation.start()
    frame, files = Frame(), []
    for opening in range(10):
        view = call(controller, 17, b"editor", types=[c.c_char_p], result=c.c_void_p)
        assert call(view, 12, frame.frame.address, types=[c.c_void_p]) == 0
        assert len(frame.handlers) == 1, "the run loop isn't used"
        assert call(view, 4, parent, b"X11EmbedWindowID", types=[c.c_void_p, c.c_char_p]) == 0, "the editor doesn't open"
        assert call(view, 5) == 0, "the editor doesn't close"
        # Some hosts let the view go without a word to its frame.
        if opening % 2:
            assert call(view, 12, None, types=[c.c_void_p]) == 0
        release(view)
        assert not frame.handlers, "the run loop still has a handler of a view that is gone"
        assert not frame.asked_sizes, "the editor opens with another size than it said"
        files.append(open_files())
    # The last windows' threads may still be on their way out.
    deadline = time.monotonic() + 10
    while open_files() > min(files):
        assert time.monotonic() < deadline, f"open files after each opening: {files}"
        time.sleep(0.05)
    stop.set()
    automation.join()
    open_scaled(controller, parent)
    call(controller, 4)
    release(controller)
    release(factory)
    print("the host lives")


def test_the_editor_opens_while_a_parameter_changes(bundles):
    try:
        screen = window.Screen()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    binary = next((bundles / "Dualstep.vst3").glob("Contents/*-linux/*.so"))
    try:
        done = subprocess.run([sys.executable, __file__, str(binary)], check=False, capture_output=True, text=True, timeout=120)
    finally:
        screen.close()
    assert done.returncode == 0 and "panicked" not in done.stderr, done.stderr
    assert "the host lives" in done.stdout


if __name__ == "__main__":
    host(sys.argv[1])
