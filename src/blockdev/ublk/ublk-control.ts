import { MdError } from "../../base/md-error.ts";
import type { Sector } from "../../base/units.ts";
import { type Clock, sleep } from "../../env/clock.ts";
import { Errno } from "../errno.ts";
import { errnoName } from "../errno-name.ts";
import type { DriverCommands } from "./driver-commands.ts";
import { controlHeader, type DeviceInfo, type DeviceParams, deviceInfo, deviceParams } from "./structs.ts";
import { ANY_DEVICE, ControlCommand, controlOpcode, NO_QUEUE } from "./uapi.ts";

/** Milliseconds: a kernel that does not answer by then never will (an ADD_DEV that crashed inside it). */
const ANSWER_MS = 15_000;
/** Milliseconds that a server which died may take to be gone: 6.1 and 6.6 look every five seconds. */
const GONE_MS = 20_000;
const RETRY_MS = 50;

const EEXIST = 17;

export const charPath = (id: number): string => `/dev/ublkc${id}`;
export const diskPath = (id: number): string => `/dev/ublkb${id}`;

interface CommandWords {
  readonly data?: number;
  readonly payload?: Uint8Array;
  /** Milliseconds; null: it takes as long as whom it waits for. */
  readonly within?: number | null;
}

/** The driver's control commands, typed. Every method throws MdError with what was tried and the kernel's reason. */
export class UblkControl {
  readonly #driver: DriverCommands;
  readonly #clock: Clock;
  /** Opcodes as `ioctl` encodes them. */
  readonly encoded: boolean;
  /** UBLK_F_*; 0 where the kernel does not tell (before 6.5). */
  readonly features: number;

  private constructor(driver: DriverCommands, clock: Clock, encoded: boolean, features: number) {
    this.#driver = driver;
    this.#clock = clock;
    this.encoded = encoded;
    this.features = features;
  }

  /** Finds out what this kernel's driver can. */
  static async open(driver: DriverCommands, clock: Clock): Promise<UblkControl> {
    const probe = new UblkControl(driver, clock, true, 0);
    const mask = new Uint8Array(8);
    const result = await probe.#run(ControlCommand.GET_FEATURES, ANY_DEVICE, { payload: mask });
    // 6.4 has encoded opcodes, but not this one; older kernels know bare numbers only. Those serve both.
    if (result === -Errno.ENODEV || result === -Errno.EOPNOTSUPP) return new UblkControl(driver, clock, false, 0);
    if (result < 0) throw refused("ask for the features of ublk", result);
    return new UblkControl(driver, clock, true, new DataView(mask.buffer).getUint32(0, true));
  }

  has(feature: number): boolean {
    return (this.features & feature) !== 0;
  }

  /** The granted device; its flags are those of the wanted that the kernel knows. */
  async add(wanted: Pick<DeviceInfo, "queues" | "depth" | "maxIoBytes" | "flags" | "mark">): Promise<DeviceInfo> {
    const zeros = { state: 0, serverPid: 0, ownerUid: 0, ownerGid: 0, deviceId: ANY_DEVICE };
    const payload = deviceInfo.encode({ ...wanted, ...zeros });
    const result = await this.#run(ControlCommand.ADD_DEV, ANY_DEVICE, { payload });
    if (result < 0) throw refused("add a ublk device", result);
    return deviceInfo.decode(payload);
  }

  async setParams(id: number, params: DeviceParams): Promise<void> {
    await this.#must("set the limits of", id, ControlCommand.SET_PARAMS, { payload: deviceParams.encode(params) });
  }

  async params(id: number): Promise<DeviceParams> {
    const payload = new Uint8Array(deviceParams.size);
    new DataView(payload.buffer).setUint32(0, deviceParams.size, true);
    await this.#must("read the limits of", id, ControlCommand.GET_PARAMS, { payload });
    return deviceParams.decode(payload);
  }

  /** Null: there is no such device. */
  async info(id: number): Promise<DeviceInfo | null> {
    const payload = new Uint8Array(deviceInfo.size);
    const result = await this.#run(ControlCommand.GET_DEV_INFO, id, { payload });
    if (result === -Errno.ENODEV) return null;
    if (result < 0) throw refused(`look at ${charPath(id)}`, result);
    return deviceInfo.decode(payload);
  }

  /** The disk appears when all queues are served and its partition table was read. */
  async start(id: number, pid: number): Promise<void> {
    await this.#must("start", id, ControlCommand.START_DEV, { data: pid, within: null });
  }

  /** The disk goes. Waits for the requests that its server has in hand. */
  async stop(id: number): Promise<void> {
    await this.#must("stop", id, ControlCommand.STOP_DEV, { within: null }, [Errno.ENODEV]);
  }

  /** Nobody may serve it any more. Waits until nobody has it open. */
  async remove(id: number): Promise<void> {
    await this.#must("delete", id, ControlCommand.DEL_DEV, { within: null }, [Errno.ENODEV]);
  }

  async updateSize(id: number, size: Sector): Promise<void> {
    await this.#must("resize", id, ControlCommand.UPDATE_SIZE, { data: size });
  }

  /** The device is free for another server, as soon as the old one is surely gone. */
  async beginRecovery(id: number): Promise<void> {
    const giveUpAt = this.#clock.now() + GONE_MS;
    for (;;) {
      const result = await this.#run(ControlCommand.START_USER_RECOVERY, id, {});
      if (result >= 0) return;
      if (result !== -Errno.EBUSY || this.#clock.now() >= giveUpAt) throw refused(`recover ${charPath(id)}`, result);
      await sleep(this.#clock, RETRY_MS);
    }
  }

  async endRecovery(id: number, pid: number): Promise<void> {
    const words = { data: pid, within: null };
    await this.#must("go on with", id, ControlCommand.END_USER_RECOVERY, words, [EEXIST]);
  }

  close(): void {
    this.#driver.close();
  }

  async #must(
    what: string,
    id: number,
    command: ControlCommand,
    words: CommandWords,
    tolerated: readonly number[] = [],
  ): Promise<void> {
    const result = await this.#run(command, id, words);
    if (result < 0 && !tolerated.includes(-result)) throw refused(`${what} ${charPath(id)}`, result);
  }

  /** Signals to this process interrupt commands: they are given again. */
  async #run(command: ControlCommand, deviceId: number, words: CommandWords): Promise<number> {
    const { data = 0, payload = null, within = ANSWER_MS } = words;
    const length = payload?.length ?? 0;
    const header = controlHeader.encode({ deviceId, queueId: NO_QUEUE, length, address: 0, data, pathLength: 0 });
    const opcode = controlOpcode(command, this.encoded);
    for (;;) {
      const answer = this.#driver.command(opcode, header, payload);
      const result = within === null ? await answer : await this.#answeredIn(within, answer);
      if (result !== -Errno.EINTR) return result;
    }
  }

  async #answeredIn(ms: number, answer: Promise<number>): Promise<number> {
    const over = new AbortController();
    const late = sleep(this.#clock, ms, over.signal).then(() => null);
    const result = await Promise.race([answer, late]);
    over.abort();
    if (result !== null) return result;
    throw new MdError("E_TIMEOUT", `the ublk driver has not answered for ${ms / 1000} s`, { hint: "dmesg | tail" });
  }
}

function refused(what: string, result: number): MdError {
  const errno = -result;
  const code =
    errno === Errno.EPERM || errno === 13 ? "E_PERMISSION" : errno === Errno.EBUSY ? "E_DEVICE_BUSY" : "E_IO";
  return new MdError(code, `cannot ${what}: ${errnoName(errno)}`, { details: { errno } });
}
