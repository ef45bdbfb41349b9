"""The VST3's editor opens and closes while parameters change, as automation does. Run as a program, with the binary in the bundle, this is the host."""

import ctypes as c
import subprocess
import sys
import threading

import pytest
import window

I_EDIT_CONTROLLER = bytes.fromhex("DCD7BBE37742448DA874AACC979C759E")
STAGE1 = 1254989043


class ClassInfo(c.Structure):
    _fields_ = [("cid", c.c_char * 16), ("cardinality", c.c_int32), ("category", c.c_char * 32), ("name", c.c_char * 64)]


def call(thing, index, *arguments, types=(), result=c.c_int32):
    """Calls the method of this index in the interface's table."""
    table = c.cast(thing, c.POINTER(c.POINTER(c.c_void_p))).contents
    return c.CFUNCTYPE(result, c.c_void_p, *types)(table[index])(thing, *arguments)


def release(thing):
    call(thing, 2, result=c.c_uint32)


def host(binary):
    """Opens the editor ten times while another thread sets a parameter, then lets the plugin go."""
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

    automation = threading.Thread(target=automate)
    automation.start()
    for _ in range(10):
        view = call(controller, 17, b"editor", types=[c.c_char_p], result=c.c_void_p)
        assert call(view, 4, parent, b"X11EmbedWindowID", types=[c.c_void_p, c.c_char_p]) == 0, "the editor doesn't open"
        assert call(view, 5) == 0, "the editor doesn't close"
        release(view)
    stop.set()
    automation.join()
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
