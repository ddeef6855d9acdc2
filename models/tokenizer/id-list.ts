/** Ids of a text of unknown length. */
export class IdList {
  private ids = new Int32Array(256);
  private length = 0;

  push(id: number): void {
    if (this.length === this.ids.length) this.grow();
    this.ids[this.length++] = id;
  }

  pushAll(ids: ArrayLike<number>): void {
    while (this.length + ids.length > this.ids.length) this.grow();
    for (let i = 0; i < ids.length; i++) this.ids[this.length++] = ids[i]!;
  }

  toArray(): Int32Array {
    return this.ids.slice(0, this.length);
  }

  private grow(): void {
    const grown = new Int32Array(2 * this.ids.length);
    grown.set(this.ids);
    this.ids = grown;
  }
}
