/* switched off for the move
/* the server */
HOST="vc-old.example.com";
*/
HOST="vc.example.com";
USERNAME="backup";
