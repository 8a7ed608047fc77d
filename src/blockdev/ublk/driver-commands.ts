/** How control commands get to the ublk driver: the seam under which it can be played. */
export interface DriverCommands {
  /**
   * `header`: the 32 bytes of struct ublksrv_ctrl_cmd, without the address. `data` (at most 512 bytes) goes in with the
   * command and comes back as the driver left it. The result: 0 or more, or a negative errno.
   */
  command(opcode: number, header: Uint8Array, data: Uint8Array | null): Promise<number>;
  close(): void;
}
