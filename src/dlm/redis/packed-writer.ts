/** Packs numbers and texts one behind the other, as Lua's struct reads them. It can be used again and again. */
export class PackedWriter {
  #bytes = Buffer.allocUnsafeSlow(4096);
  #at = 0;

  begin(): this {
    this.#at = 0;
    return this;
  }

  double(value: number): this {
    this.#reserve(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
    return this;
  }

  byte(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#at] = value;
    this.#at += 1;
    return this;
  }

  /** Of at most 255 bytes, with its length in one byte before it. */
  shortText(value: string): this {
    const at = this.#at;
    const length = this.#writeBehind(1, value);
    this.#bytes[at] = length;
    return this;
  }

  /** With its length in four bytes before it. */
  text(value: string): this {
    const at = this.#at;
    const length = this.#writeBehind(4, value);
    this.#bytes.writeUInt32LE(length, at);
    return this;
  }

  /** What was packed since `begin`. It stands there until the next `begin`. */
  take(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  /** Leaves `room` bytes for the length of the text, which it returns. */
  #writeBehind(room: number, value: string): number {
    this.#reserve(room + 3 * value.length);
    const length = this.#bytes.write(value, this.#at + room, "utf8");
    this.#at += room + length;
    return length;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const longer = Buffer.allocUnsafeSlow(2 * (this.#at + bytes));
    this.#bytes.copy(longer, 0, 0, this.#at);
    this.#bytes = longer;
  }
}
