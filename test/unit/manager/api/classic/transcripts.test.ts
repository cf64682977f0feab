import { expect } from 'chai'
import { readdirSync } from 'node:fs'
import { play, transcript } from '../../../../support/classic-transcript.js'

// Written conversations, beside this file in the sources. How they are read: test/support/classic-transcript.ts.
const folder = new URL('../../../../../../test/unit/manager/api/classic/', import.meta.url)

describe('the original API, version 5', () => {
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.txt')).sort()) {
    it(`answers as written down: ${name.slice(0, -4).replaceAll('-', ' ')}`, async function () {
      this.timeout(180_000)
      const written = transcript(new URL(name, folder))
      const went = await play(written.text)
      written.write(went)
      if (process.env['UPDATE_TRANSCRIPTS'] !== '1') expect(went).to.equal(written.text)
    })
  }
})
