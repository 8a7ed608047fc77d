import type { DriverCommands } from "../../src/blockdev/ublk/driver-commands.ts";
import {
  controlHeader,
  type DeviceInfo,
  type DeviceParams,
  deviceInfo,
  deviceParams,
} from "../../src/blockdev/ublk/structs.ts";
import { ANY_DEVICE, ControlCommand, DeviceState } from "../../src/blockdev/ublk/uapi.ts";

const [EPERM, EINTR, EACCES, EBUSY, EEXIST, ENODEV, EINVAL, EOPNOTSUPP] = [1, 4, 13, 16, 17, 19, 22, 95];

interface FakeDevice {
  info: DeviceInfo;
  params: DeviceParams | null;
  /** The old server is not quite gone: START_USER_RECOVERY is refused so many times. */
  busyFor: number;
}

export interface FakeUblkOptions {
  /** What GET_FEATURES says; null: a kernel that has no encoded opcodes. */
  readonly features: number | null;
}

/** The ublk driver's control device: states and refusals as in the kernel (drivers/block/ublk_drv.c), without queues. */
export class FakeUblkDriver implements DriverCommands {
  readonly devices = new Map<number, FakeDevice>();
  /** Command numbers in the order given. */
  readonly log: number[] = [];
  /** Their results from now on, once each, by command. */
  readonly failures = new Map<number, number>();
  /** START_DEV and END_USER_RECOVERY wait until every tag is fetched. */
  isServed: () => boolean = () => true;
  readonly #features: number | null;
  #next = 0;

  constructor({ features }: FakeUblkOptions = { features: 0x1fe }) {
    this.#features = features;
  }

  async command(opcode: number, header: Uint8Array, data: Uint8Array | null): Promise<number> {
    const { deviceId, data: word } = controlHeader.decode(header);
    const command = opcode & 0xff;
    const isEncoded = opcode > 0xff;
    if (isEncoded && this.#features === null) return -ENODEV;
    this.log.push(command);
    const failure = this.failures.get(command);
    this.failures.delete(command);
    if (failure !== undefined) return failure;
    if (command === ControlCommand.GET_FEATURES) {
      new DataView(data?.buffer ?? new ArrayBuffer(8)).setBigUint64(0, BigInt(this.#features ?? 0), true);
      return 0;
    }
    if (command === ControlCommand.ADD_DEV) return this.#add(data);
    const device = this.devices.get(deviceId);
    return device === undefined ? -ENODEV : this.#carryOut(command, device, word, data);
  }

  close(): void {}

  /** Its server has died. */
  orphan(id: number, busyFor = 0): void {
    const device = this.devices.get(id);
    if (device === undefined) throw new Error(`there is no device ${id}`);
    device.busyFor = busyFor;
    device.info = { ...device.info, state: DeviceState.QUIESCED, serverPid: -1 };
  }

  #add(data: Uint8Array | null): number {
    if (data === null) return -EINVAL;
    const wanted = deviceInfo.decode(data);
    if (wanted.deviceId !== ANY_DEVICE || wanted.queues === 0 || wanted.depth === 0) return -EINVAL;
    const info = { ...wanted, deviceId: this.#next++, flags: wanted.flags & (this.#features ?? 0x1e) };
    this.devices.set(info.deviceId, { info, params: null, busyFor: 0 });
    data.set(deviceInfo.encode(info));
    return 0;
  }

  #carryOut(command: number, device: FakeDevice, word: number, data: Uint8Array | null): number {
    const { state } = device.info;
    const become = (next: number, serverPid: number): number => {
      device.info = { ...device.info, state: next, serverPid };
      return 0;
    };
    switch (command) {
      case ControlCommand.GET_DEV_INFO:
        data?.set(deviceInfo.encode(device.info));
        return 0;
      case ControlCommand.SET_PARAMS:
        if (state !== DeviceState.DEAD) return -EACCES;
        device.params = deviceParams.decode(data ?? new Uint8Array(0));
        return device.params.maxSectors * 512 > device.info.maxIoBytes ? -EINVAL : 0;
      case ControlCommand.GET_PARAMS:
        if (device.params !== null) data?.set(deviceParams.encode(device.params));
        return 0;
      case ControlCommand.START_DEV:
        if (device.params === null || word <= 0 || !this.isServed()) return -EINVAL;
        return state === DeviceState.DEAD ? become(DeviceState.LIVE, word) : -EEXIST;
      case ControlCommand.STOP_DEV:
        return become(DeviceState.DEAD, -1);
      case ControlCommand.DEL_DEV:
        this.devices.delete(device.info.deviceId);
        return 0;
      case ControlCommand.START_USER_RECOVERY:
        if (device.busyFor > 0) device.busyFor--;
        else if (state === DeviceState.QUIESCED) return 0;
        return -EBUSY;
      case ControlCommand.END_USER_RECOVERY:
        return this.isServed() ? become(DeviceState.LIVE, word) : -EINVAL;
      case ControlCommand.UPDATE_SIZE:
        if (device.params !== null) device.params = { ...device.params, sizeSectors: word };
        return 0;
      default:
        return -EOPNOTSUPP;
    }
  }
}

export const interrupted = -EINTR;
export const forbidden = -EPERM;
