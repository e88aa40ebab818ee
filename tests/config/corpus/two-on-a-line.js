HOST="vc.example.com" "backup";
HOST="vc.example.com"; USERNAME="backup"; /* both */ LOGLEVEL=3; // three
PORT="443"; 902
