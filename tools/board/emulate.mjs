// Runs an RP2040's flash in rp2040js: node emulate.mjs FLASH BOOTROM|- usb|uart
// Its serial port, USB or UART0, is this process's standard input and output; ../emulate.py has the
// rest. Emulated, so neither as fast as the chip nor as faithful.
import fs from 'node:fs';
import process from 'node:process';
import { createRequire } from 'node:module';

const require = createRequire(process.env.RP2040JS + '/');
const { ConsoleLogger, LogLevel, Simulator, USBCDC } = require('rp2040js');

const [flash, bootrom, serial] = process.argv.slice(2);
const simulator = new Simulator();
const chip = simulator.rp2040;
chip.logger = new ConsoleLogger(LogLevel.Error);
if (bootrom !== '-') {
  const rom = fs.readFileSync(bootrom);
  chip.loadBootrom(new Uint32Array(rom.buffer, rom.byteOffset, rom.length / 4));
}
chip.flash.set(fs.readFileSync(flash)); // last: the boot ROM's arrival erases it

const waiting = []; // bytes for the chip
let send;
if (serial === 'uart') {
  chip.uart[0].onByte = (byte) => process.stdout.write(Uint8Array.of(byte));
  send = (byte) => chip.uart[0].feedByte(byte);
} else {
  const cdc = new USBCDC(chip.usbCtrl);
  cdc.onDeviceConnected = () => process.stderr.write('usb: connected\n');
  cdc.onSerialData = (data) => process.stdout.write(data);
  send = (byte) => cdc.sendSerialByte(byte);
}
// A few bytes at a time: the queues of both are short.
setInterval(() => waiting.splice(0, 16).forEach(send), 1);
process.stdin.on('data', (data) => waiting.push(...data));
process.stdin.on('end', () => process.exit(0));

chip.core.PC = 0x10000000;
simulator.execute();
