// Mocha's spec reporter plus one plain closing line that says how many tests ran.
const { reporters: { Spec }, Runner } = require('mocha')
module.exports = class extends Spec {
  constructor(runner, options) {
    super(runner, options)
    runner.once(Runner.constants.EVENT_RUN_END, () => setImmediate(() =>
      console.log(`${runner.stats.passes} passed, ${runner.stats.failures} failed, ${runner.stats.pending} skipped`)))
  }
}
