/* everything is at its default */
// HOST="";
// LOGLEVEL="3";
