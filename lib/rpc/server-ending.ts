/** What ends a call before its method does: the client goes away, the deadline passes, or the server is closed hard. */
import { Fault } from '../faults.js'

export class Ending {
  #controller: AbortController | undefined
  #reason: Error | undefined
  #onEnd: ((reason: Error) => void) | undefined

  get reason(): Error | undefined {
    return this.#reason
  }

  /** Made for who asks: few methods do, and to make one takes more than a microsecond. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  /** Only the first reason counts. */
  end(reason: Error): void {
    if (this.#reason) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#onEnd?.(reason)
  }

  /** The result, or the reason of the end where that comes first: a method that hangs holds nothing else. One result at a time is waited for. */
  within<T>(deadlineMs: number, result: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { this.end(new Fault('timed out', `No answer within ${deadlineMs} ms`)) }, deadlineMs)
      const settled = (): void => {
        clearTimeout(timer)
        this.#onEnd = undefined
      }
      this.#onEnd = (reason) => {
        settled()
        reject(reason)
      }
      if (this.#reason) this.#onEnd(this.#reason)
      result.then((value) => {
        settled()
        resolve(value)
      }, (thrown: unknown) => { // it may come when nobody waits for it any more
        settled()
        reject(thrown instanceof Error ? thrown : new Error(String(thrown)))
      })
    })
  }
}
