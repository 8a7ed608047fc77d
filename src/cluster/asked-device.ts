import { MdError } from "../base/md-error.ts";

/** The answer to NEWDISK by hand (`--cluster-confirm`, which udev rules written for mdadm call): only while it is asked. */
export class AskedDevice {
  #asked: { readonly number: number; readonly answer: (path: string | null) => void } | null = null;

  /** Resolves with what is confirmed until `end`; null: missing. */
  ask(number: number): Promise<string | null> {
    return new Promise((answer) => {
      this.#asked = { number, answer };
    });
  }

  end(): void {
    this.#asked = null;
  }

  /** E_VALUE for a confirmation that nobody asked for. */
  confirm(number: number, path: string | null): void {
    if (this.#asked === null || this.#asked.number !== number) {
      throw new MdError("E_VALUE", `nobody has asked for a device number ${number}`, {
        why: "a confirmation is taken only while another node adds that device",
        hint: "repeat the add on the node that has the device",
      });
    }
    this.#asked.answer(path);
  }
}
