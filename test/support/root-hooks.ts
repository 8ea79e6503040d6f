/**
 * For every test file: an error nobody caught, or a warning of Node, fails the run (mocha alone
 * passes with exit code 0 after an unhandled rejection, measured).
 */
process.on('unhandledRejection', (error) => {
  throw error;
});
process.on('warning', (warning) => {
  throw warning;
});
