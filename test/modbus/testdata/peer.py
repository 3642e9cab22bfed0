"""A Modbus server on pymodbus: the device's side of the tests.

usage: peer.py tcp|udp|serial tcp|rtu|ascii [DEVICE]

Prints "ready HOST:PORT" (or "ready DEVICE"), then obeys lines on stdin and
answers each with one line:

    get TABLE ADDRESS COUNT        values, separated by blanks
    set TABLE ADDRESS VALUE...     ok

TABLE is c (coils), d (discrete inputs), h (holding) or i (input registers).
Ends with stdin.
"""
import asyncio
import logging
import sys
import threading
import types

import serial

# pymodbus.server imports this for its own serial server, which is not used here;
# Debian does not install it along.
sys.modules["serial_asyncio"] = types.SimpleNamespace(create_serial_connection=None)

from pymodbus.datastore import (ModbusSequentialDataBlock, ModbusServerContext,
                                ModbusSlaveContext)
from pymodbus.factory import ServerDecoder
from pymodbus.server.async_io import ModbusTcpServer, ModbusUdpServer
from pymodbus.transaction import (ModbusAsciiFramer, ModbusRtuFramer,
                                  ModbusSocketFramer)

FRAMERS = {"tcp": ModbusSocketFramer, "rtu": ModbusRtuFramer, "ascii": ModbusAsciiFramer}
FUNCTION = {"c": 1, "d": 2, "h": 3, "i": 4}


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def serve_serial(port, framer, unit):
    """Answers unit 1 on a serial line, with pymodbus's framer and requests."""
    def answer(request):
        response = request.execute(unit)
        response.transaction_id = request.transaction_id
        response.unit_id = request.unit_id
        port.write(framer.buildPacket(response))

    while True:
        data = port.read(1)
        data += port.read(port.in_waiting)
        framer.processIncomingPacket(data, answer, [1], single=False)


async def main():
    # It calls the end of a connection an error.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    transport, framing = sys.argv[1], sys.argv[2]
    unit = ModbusSlaveContext(
        di=ModbusSequentialDataBlock.create(), co=ModbusSequentialDataBlock.create(),
        hr=ModbusSequentialDataBlock.create(), ir=ModbusSequentialDataBlock.create(),
        zero_mode=True)
    context = ModbusServerContext(slaves={1: unit}, single=False)
    framer = FRAMERS[framing]
    if transport == "serial":
        address = sys.argv[3]
        port = serial.Serial(address, baudrate=19200, parity="E")
        threading.Thread(target=serve_serial, args=(port, framer(ServerDecoder()), unit), daemon=True).start()
    else:
        port = free_port()
        address = "127.0.0.1:%d" % port
        kind = ModbusTcpServer if transport == "tcp" else ModbusUdpServer
        server = kind(context, framer, address=("127.0.0.1", port), ignore_missing_slaves=True)
        serving = asyncio.create_task(server.serve_forever())
        await server.serving
    print("ready", address, flush=True)

    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, table, at, *rest = line.split()
        if verb == "set":
            unit.setValues(FUNCTION[table], int(at), [int(v) for v in rest])
            print("ok", flush=True)
        else:
            values = unit.getValues(FUNCTION[table], int(at), int(rest[0]))
            print(*[int(v) for v in values], flush=True)
    if transport != "serial":
        serving.cancel()


asyncio.run(main())
