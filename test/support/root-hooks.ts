/**
 * For every test file: an uncaught error, or a Node warning, fails the run (mocha alone passes with exit
 * code 0 after an unhandled rejection, measured).
 */
process.on('unhandledRejection', (error) => {
  throw error;
});
process.on('warning', (warning) => {
  throw warning;
});

// As main says it: the SDK's next year is none of an operator's business.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
