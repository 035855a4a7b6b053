// Begin each build with nothing, so that no file of an earlier one is packed.
require('node:fs').rmSync(require('node:path').join(__dirname, '..', 'dist'), {
  recursive: true,
  force: true,
});
