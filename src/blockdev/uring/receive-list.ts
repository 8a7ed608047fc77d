/** Receives that go to the kernel later in the turn, as columns. Grows to the most that ever waited. */
export class ReceiveList {
  socket = new Int32Array(64);
  address = new Float64Array(64);
  bytes = new Int32Array(64);
  tag = new Uint32Array(64);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  push(socket: number, address: number, bytes: number, tag: number): void {
    if (this.#count === this.socket.length) this.#grow();
    this.socket[this.#count] = socket;
    this.address[this.#count] = address;
    this.bytes[this.#count] = bytes;
    this.tag[this.#count] = tag;
    this.#count++;
  }

  clear(): void {
    this.#count = 0;
  }

  #grow(): void {
    const size = this.#count * 2;
    const { socket, address, bytes, tag } = this;
    this.socket = new Int32Array(size);
    this.address = new Float64Array(size);
    this.bytes = new Int32Array(size);
    this.tag = new Uint32Array(size);
    this.socket.set(socket);
    this.address.set(address);
    this.bytes.set(bytes);
    this.tag.set(tag);
  }
}
